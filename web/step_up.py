"""Step-up: whoever does something that cannot be taken back proves once more who they are."""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Response, abort, current_app, flash, redirect, request, url_for

from clinic.records.db import database_now
from web.database import db
from web.guard import me, wants_json

LIFE = timedelta(minutes=15)
P = ParamSpec("P")
R = TypeVar("R")


def stepped_up() -> bool:
    """Whether this person proved themselves in this browser within the last 15 minutes."""
    at = me().login.stepped_up_at
    return at is not None and database_now(db.session()) - at < LIFE


def require_step_up(back: str) -> None:
    """Go on only with a fresh proof; without one lead to the page that asks for it.

    `back` is the path to which that page leads on: the form that was being sent, for instance.
    """
    if stepped_up():
        return
    if wants_json():
        abort(Response('{"error": "confirm it is you"}', 401, content_type="application/json"))
    flash("For your safety, prove again that it is you. Then go on.", "error")
    abort(redirect(url_for("portal.step_up", next=back)))


def needs_step_up(back: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """The same for a whole view. `back` names an endpoint; without one it is the view's own path.

    The endpoint takes the view's own arguments, as far as it has any: `/people/<id>/disable` leads
    back to `/people/<id>`.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            require_step_up(_path(back) if back else request.path)
            return view(*args, **kwargs)

        return guarded

    return decorate


def _path(endpoint: str) -> str:
    wanted = next(current_app.url_map.iter_rules(endpoint)).arguments
    given = request.view_args or {}
    return url_for(endpoint, **{name: given[name] for name in wanted})
