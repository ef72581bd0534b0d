"""The clinic that a request is about, as pages show it: its name, its phone, its clock."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from flask import Flask, g, has_request_context, session
from flask_login import current_user
from sqlalchemy.exc import SQLAlchemyError

from clinic.records import clinics
from clinic.records.clinic_scope import every_clinic
from clinic.records.models import Clinic
from web.database import db
from web.guard import me

VISITED = "clinic"


@dataclass(frozen=True)
class LocalClinic:
    """What a page says; where nobody knows which clinic is meant, the default."""

    name: str = "the clinic"
    phone: str = "the number on your letter"
    zone: tzinfo = UTC
    known: bool = False


def init_local_time(app: Flask) -> None:
    """Give templates the filter `local`."""
    app.jinja_env.filters["local"] = local


def local(moment: datetime) -> datetime:
    """Rows hold UTC, pages show the clinic's own time."""
    return moment.astimezone(local_clinic().zone)


def local_clinic() -> LocalClinic:
    """Look the clinic up once in a request; a page must render without a database too."""
    if not has_request_context():
        return LocalClinic()
    if "local_clinic" not in g:
        g.local_clinic = _read()
    found: LocalClinic = g.local_clinic
    return found


def _read() -> LocalClinic:
    try:
        with every_clinic(db.session()):
            row = _own() if current_user.is_authenticated else visited_clinic()
    except SQLAlchemyError:
        db.session.rollback()
        row = None
    if row is None:
        return LocalClinic()
    return LocalClinic(row.name, row.phone, ZoneInfo(row.time_zone), known=True)


def _own() -> Clinic | None:
    return db.session.get(Clinic, me().actor.clinic_id)


def visited_clinic() -> Clinic | None:
    """The open clinic whose address this browser came by, or the only one that there is."""
    known = clinics.open_ones(db.session())
    slug = session.get(VISITED)
    visited = [clinic for clinic in known if clinic.slug == slug] or known
    return visited[0] if len(visited) == 1 else None
