"""SMART App Launch scopes of backend services: version 2, and version 1's `.read`."""

import re

_RIGHTS = re.compile(r"c?r?u?d?s?")
_VERSION_1 = {"read": "rs", "*": "cruds"}


def grants(scopes: frozenset[str], needed: str) -> bool:
    """Tell whether some scope grants all of one such as `system/Patient.r`."""
    resource_type, letters = _parts(needed)
    return any(
        granted_type in {resource_type, "*"} and set(letters) <= set(rights)
        for granted_type, rights in map(_parts, scopes)
        if rights
    )


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
