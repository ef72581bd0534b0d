"""The portal's engine and request session, over the tables that the worker uses too."""

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event
from sqlalchemy.orm import Session

from clinic.records import models
from clinic.records.audit_log import RECORDED
from clinic.records.db import engine_options, prepare_engine

db = SQLAlchemy(metadata=models.Base.metadata, session_options={"expire_on_commit": False})
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
