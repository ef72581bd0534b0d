"""The clinic of this installation as pages show it: its name, its phone, its clock."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from flask import Flask, g, has_request_context
from sqlalchemy.exc import SQLAlchemyError

from clinic.records import accounts
from web.database import db


@dataclass(frozen=True)
class LocalClinic:
    """What a page says where no clinic can be read is the default."""

    name: str = "the clinic"
    phone: str = "the number on your letter"
    zone: tzinfo = UTC


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
        row = accounts.the_clinic(db.session())
        return LocalClinic(row.name, row.phone, ZoneInfo(row.time_zone))
    except (LookupError, SQLAlchemyError):
        db.session.rollback()
        return LocalClinic()
