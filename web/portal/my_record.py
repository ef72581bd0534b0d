"""The patient's whole record: an overview, and the archive to take along.

The browser builds the archive and adds the photos, which it alone can open. Without JavaScript the
server builds the same archive without them.
"""

from typing import Any

from flask import Response, jsonify, render_template, url_for
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import Permission
from clinic.audit_event import AuditAction
from clinic.record_archive import to_zip
from clinic.records.models import Patient
from web.database import db
from web.guard import audit, me
from web.permission import allowed
from web.portal.blueprint import portal
from web.portal.own_record import (
    WITH_ATTACHMENTS,
    WITH_PHOTOS,
    WITHOUT_ATTACHMENTS,
    WITHOUT_PHOTOS,
    OwnFilesOfCase,
    as_json,
    gather,
)
from web.rate_limits import EXPORTS_PER_ACCOUNT, by_person, limited
from web.step_up import needs_step_up


@portal.get("/my-record")
@allowed(Permission.KEEP_OWN_RECORD)
def my_record() -> str:
    return render_template("my_record.html")


@portal.get("/my-record/download")
@allowed(Permission.KEEP_OWN_RECORD)
@needs_step_up()
def download_record() -> str:
    return render_template("download_record.html")


@portal.get("/my-record/archive.zip")
@allowed(Permission.KEEP_OWN_RECORD)
@limited(EXPORTS_PER_ACCOUNT, methods=["GET"], key_func=by_person)
@needs_step_up(back="portal.download_record")
def record_archive() -> AnyResponse:
    """The archive without photos, for a browser without JavaScript."""
    own = gather(_patient())
    files = own.with_readme(photos=WITHOUT_PHOTOS, attachments=WITHOUT_ATTACHMENTS)
    _audit(f"{len(own.cases)} cases without photos")
    archive = Response(to_zip(files, made_at=own.made_at), content_type="application/zip")
    archive.headers["Content-Disposition"] = 'attachment; filename="my-record.zip"'
    return archive


@portal.get("/my-record/archive.json")
@allowed(Permission.KEEP_OWN_RECORD)
@limited(EXPORTS_PER_ACCOUNT, methods=["GET"], key_func=by_person)
@needs_step_up(back="portal.download_record")
def record_files() -> AnyResponse:
    """The same files for the page's script, and where it gets each case's photos and files."""
    own = gather(_patient())
    readme = {"photos": WITH_PHOTOS, "attachments": WITH_ATTACHMENTS}
    files = [as_json(one) for one in own.with_readme(**readme)]
    cases = [_case(one) for one in own.cases]
    _audit(f"{len(cases)} cases with photos")
    return jsonify(made_at=own.made_at.isoformat(), files=files, cases=cases)


def _case(one: OwnFilesOfCase) -> dict[str, Any]:
    return {
        "id": one.id,
        "grant_url": url_for("portal.ask_for_pictures", case_id=one.id),
        "attachments": [
            {"name": name, "url": url_for("portal.attachment", object_id=object_id)}
            for object_id, name in one.attachments.items()
        ],
    }


def _patient() -> Patient:
    return db.session.get_one(Patient, me().actor.patient_id)


def _audit(detail: str) -> None:
    audit(AuditAction.RECORD_EXPORTED, detail=detail)
    db.session.commit()
