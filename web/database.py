"""The portal's engine and request session, over the tables that the worker uses too."""

from typing import Any

from flask import Flask, has_request_context
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as FlaskSession
from sqlalchemy import event
from sqlalchemy.orm import Session

from clinic.records import clinic_scope, models
from clinic.records.audit_log import RECORDED
from clinic.records.clinic_scope import ClinicSession
from clinic.records.db import engine_options, prepare_engine


class RequestSession(ClinicSession, FlaskSession):
    """In a request it is closed until the guard says for which clinic; commands serve all."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not has_request_context():
            clinic_scope.open_to_every_clinic(self)


db = SQLAlchemy(
    metadata=models.Base.metadata,
    session_options={"class_": RequestSession, "expire_on_commit": False},
)
migrate = Migrate()


def init_database(app: Flask, url: str) -> None:
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url)
    db.init_app(app)
    migrate.init_app(app, db, directory="migrations")
    with app.app_context():
        prepare_engine(db.engine)


_AUDITED = "an audit entry of this request is kept"


def request_is_audited() -> bool:
    """Whether this request has left an audit entry that is committed."""
    return _AUDITED in db.session().info


@event.listens_for(db.session, "after_commit")
def _kept(session: Session) -> None:
    if session.info.pop(RECORDED, False):
        session.info[_AUDITED] = True


@event.listens_for(db.session, "after_rollback")
def _lost(session: Session) -> None:
    session.info.pop(RECORDED, None)
