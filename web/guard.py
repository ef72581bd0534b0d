"""Closed by default: each route needs a permission mark, and each request must fit it."""

from typing import NoReturn, cast

from flask import Flask, Response, abort, current_app, g, redirect, request, url_for
from flask_login import LoginManager, UserMixin, current_user
from werkzeug.wrappers import Response as AnyResponse

from clinic.access import STAFF, Actor, CaseFacts, Permission, Role, may
from clinic.audit_event import AuditAction
from clinic.records import accounts, audit_log, clinic_scope, review_queue, submissions
from clinic.records.models import LoginSession, Submission
from web.database import db
from web.permission import Mark, mark_of
from web.services import services


class SignedIn(UserMixin):  # type: ignore[misc] # Flask-Login carries no types
    """The person behind this request."""

    def __init__(self, token: str, login: LoginSession, actor: Actor) -> None:
        self.token = token
        self.login = login
        self.actor = actor

    def get_id(self) -> str:
        return self.token

    @property
    def role(self) -> Role:
        return self.actor.role

    @property
    def second_factor_done(self) -> bool:
        """Staff always prove one, patients where they have one."""
        due = self.role in STAFF or self.login.second_factor_due
        return not due or self.login.second_factor_at is not None


def me() -> SignedIn:
    """The signed-in person; only in views whose mark asks for a role."""
    return cast("SignedIn", current_user)


def init_guard(app: Flask) -> None:
    manager = LoginManager(app)
    manager.session_protection = None  # sessions live in the database and end there
    manager.user_loader(_load)
    app.before_request(_refuse_foreign_form)
    app.before_request(_check_mark)


def _load(token: str) -> SignedIn | None:
    """Who this is. An error page asks again, and must render also when the database is down."""
    if g.get("login_failed", False):
        return None
    g.login_failed = True
    with clinic_scope.every_clinic(db.session()):  # whose clinic it is, this person says
        login = accounts.live_login(db.session(), token)
        actor = accounts.actor_of(db.session(), login) if login else None
        db.session.commit()
    g.login_failed = False
    return SignedIn(token, login, actor) if login and actor else None


_OWN_PAGES = frozenset({None, "same-origin", "none"})


def _refuse_foreign_form() -> None:
    """Browsers say where a form was sent from (Fetch Metadata). The form's token is asked for too.

    A referrer cannot be asked for: our own pages send none.
    """
    sent_from = request.headers.get("Sec-Fetch-Site")
    if request.blueprint == "portal" and request.method == "POST" and sent_from not in _OWN_PAGES:
        abort(400, "This form was sent from another site.")


# What somebody reaches who proved the password alone: proving a second factor, and setting up the
# first one. The views of the latter see to it that there was none.
_HALF_SIGNED_IN = frozenset(
    {
        *("portal.second_factor", "portal.passkey_use_options", "portal.use_recovery_code"),
        *("portal.new_code_app", "portal.new_passkey", "portal.passkey_creation_options"),
        "portal.sign_out",
    }
)


def _check_mark() -> AnyResponse | None:
    clinic_scope.close(db.session())
    if request.endpoint is None or request.endpoint == "static":
        return None
    mark = mark_of(current_app.view_functions[request.endpoint])
    if mark is None:
        abort(403)
    if mark.kind == "before sign-in":
        clinic_scope.open_to_every_clinic(db.session())
    if not mark.is_personal:
        return None
    if not current_user.is_authenticated:
        return _ask_to_sign_in()
    clinic_scope.keep_to(db.session(), me().actor.clinic_id)
    if not _admits(mark):
        deny(detail=request.endpoint)
    if not me().second_factor_done and request.endpoint not in _HALF_SIGNED_IN:
        return redirect(url_for("portal.second_factor"))
    return None


def _admits(mark: Mark) -> bool:
    if mark.permission is not None:
        return may(me().actor, mark.permission)
    return me().role in mark.roles


def _ask_to_sign_in() -> AnyResponse:
    if wants_json():
        return Response('{"error": "sign in again"}', 401, content_type="application/json")
    target = request.path if request.method == "GET" else None
    return redirect(url_for("portal.sign_in", next=target))


def wants_json() -> bool:
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == (
        "application/json"
    )


def deny(row: Submission | None = None, *, detail: str = "", words: str | None = None) -> NoReturn:
    """Audit the refusal and answer 403, with `words` for the person where others fit better."""
    _audit_refusal(row, detail)
    abort(403, words)


def missing(detail: str) -> NoReturn:
    """Audit that somebody asked for what is not there, or is another clinic's, and answer 404."""
    _audit_refusal(None, f"{detail}: not here")
    abort(404)


def _audit_refusal(row: Submission | None, detail: str) -> None:
    actor = me().actor
    services().auditor.record(
        db.session(),
        AuditAction.ACCESS_DENIED,
        actor.user_id,
        clinic_id=actor.clinic_id,
        patient_id=row.patient_id if row else None,
        submission_id=row.id if row else None,
        allowed=False,
        detail=detail,
    )
    db.session.commit()


_NEED_A_CLAIM = frozenset({Permission.READ_CASE, Permission.SIGN})
NOT_HELD = (
    "You do not hold this case now: nobody gave it to you, or your time with it ran out. "
    "Nothing was changed. Take it from the queue, if nobody else has it, and do this again."
)


def case_for(submission_id: str, permission: Permission) -> tuple[Submission, CaseFacts]:
    """The case, if this person may do `permission` on it; 404 and 403 otherwise.

    A reader who holds it keeps it: this request renews the claim.
    Another clinic's case is as little there as one that never was. 410 where the clinic's own
    audit chain knows the case, but its patient was erased.
    """
    row = submissions.find(db.session(), submission_id)
    if row is None:
        clinic_id = me().actor.clinic_id
        if not audit_log.names_case(db.session(), submission_id, clinic_id=clinic_id):
            missing(permission)
        _audit_refusal(None, f"{permission}: erased")
        abort(410)
    facts = submissions.facts(db.session(), row)
    mine = facts.claimed_by == me().actor.user_id
    if not may(me().actor, permission, facts):
        at_the_desk = permission in _NEED_A_CLAIM and not mine and not facts.signed
        deny(row, detail=permission, words=NOT_HELD if at_the_desk else None)
    if mine and not facts.signed:
        review_queue.renew(db.session(), row.id, reader_id=me().actor.user_id)
    return row, facts


def audit(
    action: AuditAction, row: Submission | None = None, *, detail: str = "", allowed: bool = True
) -> None:
    """One entry about what this person did, or was not let do."""
    actor = me().actor
    services().auditor.record(
        db.session(),
        action,
        actor.user_id,
        clinic_id=actor.clinic_id,
        patient_id=row.patient_id if row else actor.patient_id,
        submission_id=row.id if row else None,
        allowed=allowed,
        detail=detail,
    )
