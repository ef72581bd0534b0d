"""Which representation a FHIR client asks for (FHIR R4 http.html, RFC 9110 section 12.5.1)."""

_JSON_TYPES = frozenset({"application/fhir+json", "application/json", "text/json"})
_JSON_RANGES = _JSON_TYPES | {"application/*", "text/*", "*/*"}
_HTML_RANGES = frozenset({"text/html", "text/*", "*/*"})
_JSON_FORMATS = _JSON_TYPES | {"json"}


def wants_json(*, accept: str | None, requested_format: str | None) -> bool:
    """Tell whether JSON is acceptable; `_format` wins over the header, and neither means yes."""
    if requested_format is not None:
        return requested_format.partition(";")[0].strip().lower() in _JSON_FORMATS
    return _accepts(accept, _JSON_RANGES)


def wants_page(*, accept: str | None, requested_format: str | None) -> bool:
    """Tell whether a Binary goes out as the page itself, not wrapped in a resource."""
    if requested_format is not None:
        return requested_format.partition(";")[0].strip().lower() in {"html", "text/html"}
    return _accepts(accept, _HTML_RANGES) and not _accepts(accept, _JSON_TYPES)


def _accepts(accept: str | None, ranges: frozenset[str]) -> bool:
    if accept is None or not accept.strip():
        return bool(ranges & {"*/*"})
    return any(_matches(part, ranges) for part in accept.split(","))


def _matches(part: str, ranges: frozenset[str]) -> bool:
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    given = dict(p.split("=", 1) for p in parameters if "=" in p)
    refused = given.get("q", "1").strip("0.") == ""
    foreign = given.get("fhirversion", "4.0") not in {"4.0", "4.0.1"}
    return media_type in ranges and not refused and not foreign
