"""How often a person may try: counted in the broker's store, in memory while that is down.

A request counts whatever is wrong with it: without a token, from another site, or with a form that
is not filled. So the limits are looked at before everything else. Nobody is locked out for good.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_login import current_user

View = TypeVar("View", bound=Callable[..., Any])

limiter = Limiter(get_remote_address, default_limits=[])

SIGN_IN_PER_ADDRESS = "30/minute"
SIGN_IN_PER_ACCOUNT = "10/minute"
# Second factors, step-up, own passwords: only who signed in already can use these up.
PROOFS_PER_ACCOUNT = "10/minute;60/hour"
MAILS_PER_ACCOUNT = "5/hour"  # nobody's mailbox is to be filled by others
UPLOADS_PER_ACCOUNT = "20/minute"
MESSAGES_PER_ACCOUNT = "10/minute;60/hour"
REPORTS_PER_ADDRESS = "30/minute"
EXPORTS_PER_ACCOUNT = "20/hour"


def init_rate_limits(app: Flask, storage_url: str) -> None:
    """Call this before whatever else refuses requests."""
    app.config.update(
        RATELIMIT_STORAGE_URI=storage_url,
        RATELIMIT_IN_MEMORY_FALLBACK_ENABLED=True,
        RATELIMIT_SWALLOW_ERRORS=False,
        RATELIMIT_HEADERS_ENABLED=False,
    )
    if storage_url.startswith("redis"):
        app.config["RATELIMIT_STORAGE_OPTIONS"] = {
            "socket_connect_timeout": 0.3,
            "socket_timeout": 0.5,
        }
    limiter.init_app(app)
    app.before_request(_count)


def limited(limit: str, **options: Any) -> Callable[[View], View]:
    """At most `limit` POST requests to a view; `options` are those of `Limiter.limit`.

    The library's own decorator looks at its limits only when the view is called, and would not
    count what was refused before that.
    """

    def register(view: View) -> View:
        limiter.limit(limit, **{"methods": ["POST"], **options})(view)
        return view

    return register


def _count() -> None:
    # Who this is, first: the limiter would take a database that is away for a lost store of counts.
    bool(current_user)
    limiter._check_request_limit(in_middleware=False)  # noqa: SLF001 - there is no public way


def by_person() -> str:
    """Count who is signed in, by whatever address they come."""
    if not current_user.is_authenticated:
        return get_remote_address()
    return f"account:{current_user.actor.user_id}"
