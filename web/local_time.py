"""Moments as the clinic's clock shows them: rows hold UTC, pages show local time."""

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from flask import Flask, g, has_request_context
from sqlalchemy.exc import SQLAlchemyError

from clinic.records import accounts
from web.database import db


def init_local_time(app: Flask) -> None:
    """Give templates the filter `local`."""
    app.jinja_env.filters["local"] = local


def local(moment: datetime) -> datetime:
    return moment.astimezone(_zone())


def _zone() -> tzinfo:
    """Look the clinic's zone up once in a request; a page must render without a database too."""
    if not has_request_context():
        return UTC
    if "clinic_zone" not in g:
        try:
            g.clinic_zone = ZoneInfo(accounts.the_clinic(db.session()).time_zone)
        except (LookupError, SQLAlchemyError):
            db.session.rollback()
            g.clinic_zone = UTC
    zone: tzinfo = g.clinic_zone
    return zone
