"""The small parts of FHIR resources: codings, references, names, times, and the model's check."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from clinic.report_html import narrative, plain
from clinic.report_values import Identifier
from clinic.terminology import Coding

Resource = dict[str, Any]


def checked(resource: Resource) -> Resource:
    """Let the R4B model check a resource, and give it back as plain JSON values."""
    kept = {key: value for key, value in resource.items() if value not in (None, [], "")}
    model = get_fhir_model_class(resource["resourceType"]).model_validate(kept)
    wire: Resource = json.loads(model.model_dump_json())
    return wire


def instant(at: datetime) -> str:
    """Give a FHIR instant; a time without a zone is refused, for it could mean another day."""
    if at.tzinfo is None:
        raise ValueError("A time that leaves the house needs a zone.")
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def generated_text(title: str, rows: Iterable[tuple[str, str]]) -> Resource:
    return {"status": "generated", "div": narrative(title, rows)}


def coding_element(coding: Coding) -> Resource:
    made = {"system": coding.system, "code": coding.code}
    return made | ({"display": coding.display} if coding.display else {})


def concept(*codings: Coding, text: str | None = None) -> Resource:
    made: Resource = {"coding": [coding_element(coding) for coding in codings]} if codings else {}
    named = plain(text or (codings[0].display if codings else "") or "")
    return made | ({"text": named} if named else {})


def identifier_element(identifier: Identifier) -> Resource:
    return {"system": identifier.system, "value": plain(identifier.value)}


def human_name(family: str, given: tuple[str, ...]) -> Resource:
    kept = [plain(part) for part in given if plain(part)]
    name: Resource = {"use": "official", "family": plain(family)}
    return name | ({"given": kept} if kept else {})


def reference(resource_type: str, resource_id: str, display: str | None = None) -> Resource:
    made = {"reference": f"{resource_type}/{resource_id}"}
    return made | ({"display": display} if display else {})


def notes(texts: Iterable[str]) -> list[Resource]:
    return [{"text": plain(text)} for text in texts if plain(text)]
