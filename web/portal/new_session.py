"""After signing in: a fresh session, and a word to the person about an unknown browser."""

from flask import Response, after_this_request, current_app, request, session
from flask_login import login_user

from clinic.audit_event import AuditAction
from clinic.notices import NoticeKind
from clinic.records import accounts, known_devices, notices
from clinic.records.models import Account
from clinic.retention import KNOWN_DEVICES
from web.database import db
from web.device_label import device_label
from web.guard import SignedIn
from web.services import services


def begin_session(account: Account, *, second_factor: bool, first: bool = False) -> None:
    """Start a login session, put its token into the cookie, and commit.

    `second_factor` says that it was proved already. `first` is the sign-in that follows the making
    of the account: nobody is told that its browser is new.
    """
    session.clear()
    label = device_label(request.headers.get("User-Agent", ""))
    token = accounts.start_login(db.session(), account, second_factor=second_factor, device=label)
    login = accounts.live_login(db.session(), token)
    if login is None:
        raise LookupError("The login session that was just made is gone.")
    actor = accounts.actor_of(db.session(), login)
    _know_browser(account, tell=not first)
    services().auditor.record(
        db.session(),
        AuditAction.SIGNED_IN,
        account.id,
        clinic_id=account.clinic_id,
        patient_id=actor.patient_id,
    )
    db.session.commit()
    login_user(SignedIn(token, login, actor))


def _know_browser(account: Account, *, tell: bool) -> None:
    name = _cookie_name()
    brought = request.cookies.get(name)
    if known_devices.recognise(db.session(), account, brought):
        return
    if tell:
        notices.tell(db.session(), account, NoticeKind.NEW_DEVICE)
    kept = known_devices.remember(db.session(), account, brought)

    @after_this_request
    def _set(response: Response) -> Response:
        response.set_cookie(
            name,
            kept,
            max_age=KNOWN_DEVICES,
            secure=current_app.config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite="Lax",
        )
        return response


def _cookie_name() -> str:
    """Beside the session's cookie, with the same `__Host-` where there is one."""
    return f"{current_app.config['SESSION_COOKIE_NAME']}-browser"
