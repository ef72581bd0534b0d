"""Who may use a route, written on the view itself; a guard reads the mark and closes the rest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from clinic.access import Permission

Kind = Literal["public", "before sign-in", "ehr_client", "role", "permission"]
View = TypeVar("View", bound=Callable[..., object])

_ATTRIBUTE = "__permission__"


@dataclass(frozen=True)
class Mark:
    kind: Kind
    scope: str | None = None
    roles: frozenset[str] = frozenset()
    permission: Permission | None = None

    @property
    def is_personal(self) -> bool:
        """Whether only somebody who is signed in gets in."""
        return self.kind in {"role", "permission"}


def public(view: View) -> View:
    """For everybody, and of no clinic: the view reads no clinic's rows."""
    return _marked(view, Mark(kind="public"))


def before_sign_in(view: View) -> View:
    """For everybody: the view finds out who somebody is, among the people of all clinics."""
    return _marked(view, Mark(kind="before sign-in"))


def ehr_client(scope: str) -> Callable[[View], View]:
    """`scope` is a SMART v2 system scope, for instance `system/DiagnosticReport.rs`."""

    def decorate(view: View) -> View:
        return _marked(view, Mark(kind="ehr_client", scope=scope))

    return decorate


def allowed(permission: Permission) -> Callable[[View], View]:
    """For whom the policy gives this permission; which cases, the view asks with the case."""

    def decorate(view: View) -> View:
        return _marked(view, Mark(kind="permission", permission=permission))

    return decorate


def roles(*names: str) -> Callable[[View], View]:
    """For these roles: pages about a person's own account, which ask no policy."""
    if not names:
        raise ValueError("A route for no role would be closed to everybody.")

    def decorate(view: View) -> View:
        return _marked(view, Mark(kind="role", roles=frozenset(names)))

    return decorate


def mark_of(view: Callable[..., object]) -> Mark | None:
    mark = getattr(view, _ATTRIBUTE, None)
    return mark if isinstance(mark, Mark) else None


def _marked(view: View, mark: Mark) -> View:
    if mark_of(view) is not None:
        raise ValueError("A route carries one permission mark only.")
    setattr(view, _ATTRIBUTE, mark)
    return view
