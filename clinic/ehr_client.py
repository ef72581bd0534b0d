"""Registered record systems: what they may, and what is written down when they ask.

Scopes are SMART App Launch's for backend services: version 2, and version 1's `.read`.
"""

import re
from dataclasses import dataclass

_RIGHTS = re.compile(r"c?r?u?d?s?")
_VERSION_1 = {"read": "rs", "*": "cruds"}


@dataclass(frozen=True, kw_only=True)
class EhrClient:
    """A registered record system; `scopes` are SMART v2 system scopes."""

    id: str
    clinic_id: str
    scopes: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class FhirAccess:
    """One answered or refused request, for the audit log; `client` is None for an unknown token.

    `query` holds known search parameters only, so a token put there by mistake is not kept.
    """

    client: EhrClient | None
    interaction: str
    resource_type: str
    status: int
    resource_id: str | None = None
    query: str = ""
    case_ids: tuple[str, ...] = ()


def grants(scopes: frozenset[str], needed: str) -> bool:
    """Tell whether some scope grants all of one such as `system/Patient.r`."""
    resource_type, letters = _parts(needed)
    return any(
        granted_type in {resource_type, "*"} and set(letters) <= set(rights)
        for granted_type, rights in map(_parts, scopes)
        if rights
    )


def grants_something(scopes: frozenset[str]) -> bool:
    """Tell whether some scope is understood at all."""
    return any(rights for _, rights in map(_parts, scopes))


def _parts(scope: str) -> tuple[str, str]:
    """Split into type and rights; no rights for what is not understood, so that it grants nothing.

    A scope with a query (`system/Patient.rs?...`) grants a part only, which is not offered here.
    """
    level, _, rest = scope.partition("/")
    resource_type, _, granted = rest.rpartition(".")
    rights = _VERSION_1.get(granted, granted)
    if level != "system" or not _RIGHTS.fullmatch(rights):
        return resource_type, ""
    return resource_type, rights
