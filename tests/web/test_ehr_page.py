"""The page for integrators promises only what the server does."""

import re
import shlex
from pathlib import Path

import pytest

from clinic.fhir_capability import READ_TYPES, to_capability_statement
from clinic.fhir_search import INCLUDES, REVERSE_INCLUDES
from tests.web.test_fhir_api import make_client, some_reports

PAGE = (Path(__file__).parents[2] / "docs" / "ehr.md").read_text(encoding="utf-8")
CURLS = re.findall(r"^ *(curl .*)$", PAGE, flags=re.MULTILINE)


def row(title):
    (line,) = re.findall(rf"^\| {re.escape(title)} \| (.*) \|$", PAGE, flags=re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", line))


@pytest.mark.parametrize("command", CURLS)
def test_each_example_works_as_printed(command):
    words = shlex.split(command.replace("$TOKEN", "alices-token"))
    headers = dict(w.split(": ", 1) for w in words if ": " in w)
    address = words[-1].replace("$BASE", "/fhir/R4")
    answer = make_client(some_reports()).get(address, headers=headers)
    assert answer.status_code == 200
    assert b'"total": 0' not in answer.data


def test_the_page_has_its_examples():
    assert len(CURLS) == 7


def test_the_tables_name_what_is_served():
    assert row("Read") == set(READ_TYPES)
    assert row("`_include`") == set(INCLUDES)
    assert row("`_revinclude`") == set(REVERSE_INCLUDES)
    (rest,) = to_capability_statement(base_url="https://derm.example/fhir/R4")["rest"]
    (report,) = (r for r in rest["resource"] if r["type"] == "DiagnosticReport")
    declared = {parameter["name"] for parameter in report["searchParam"]}
    assert row("Parameters") == declared | {"patient.identifier"}
