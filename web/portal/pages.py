"""Pages for everybody, and what every page shows in its frame."""

from typing import Any

from flask import abort, render_template, session
from flask_login import current_user

from clinic.access import Role
from clinic.epoch_key import root_fingerprint
from clinic.records import clinics
from web.database import db
from web.guard import me
from web.local_clinic import VISITED, local_clinic
from web.permission import before_sign_in, public
from web.portal.blueprint import portal
from web.portal.model_card import live_card
from web.services import services

ASSET_VERSION = "1"
_ROLE_NAMES = {
    Role.PATIENT: "Patient",
    Role.DERMATOLOGIST: "Dermatologist",
    Role.ADMINISTRATOR: "Administrator",
    Role.AUDITOR: "Auditor",
}


@portal.app_context_processor
def frame() -> dict[str, Any]:
    return {"viewer": _viewer(), "clinic": local_clinic(), "asset_version": ASSET_VERSION}


def _viewer() -> dict[str, str] | None:
    if not current_user.is_authenticated:
        return None
    account = me().login.account
    own_name = f"{account.given_name} {account.family_name}" if account.family_name else None
    return {"role": me().role, "name": own_name or _ROLE_NAMES[me().role]}


@portal.get("/")
@public
def home() -> str:
    return render_template("home.html")


@portal.get("/c/<slug>")
@before_sign_in
def clinic_home(slug: str) -> str:
    """A clinic's own front page; the browser keeps in mind whose it was."""
    found = clinics.by_slug(db.session(), slug)
    if found is None or found.closed_at is not None:
        abort(404, "There is no clinic at this address, or it takes no new patients.")
    session[VISITED] = slug
    return render_template("home.html")


@portal.get("/help")
@public
def help() -> str:  # noqa: A001 - the page's name
    return render_template("help.html")


@portal.get("/privacy")
@public
def privacy() -> str:
    return render_template("privacy.html", fingerprint=root_fingerprint(services().root_public_key))


@portal.get("/ai-label")
@public
def ai_label() -> str:
    """What the computer does, and the model card of the bundle in service."""
    weights = services().weights_dir
    return render_template("ai_label.html", card=live_card(weights) if weights else None)
