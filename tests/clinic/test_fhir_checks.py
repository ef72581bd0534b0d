import copy
import json
from dataclasses import replace
from pathlib import Path

import fhirkit
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyrofile_validator import Validator
from pyrofile_validator.config import ValidatorConfig

from clinic.fhir_checks import Check, UnsoundResourceError, ensure_sound, problems
from clinic.fhir_mapping import Export, to_binary, to_bundle, to_resources
from clinic.report_values import ReportStatus
from clinic.terminology import LESION_CLASSES
from tests.clinic.report_factory import FINDING, make_report

EXPORT = Export(base_url="https://derm.example/fhir/R4")
US_CORE = Path(__file__).parents[3] / "shared/data/fhir/us_core_6.1.0.tgz"


def make_bundle(kind="transaction", **changes):
    return to_bundle(make_report(**changes), export=EXPORT, kind=kind)


def held(bundle, address):
    return next(
        e["resource"] for e in bundle["entry"] if e["fullUrl"] == f"{EXPORT.base_url}/{address}"
    )


def as_urns(bundle):
    """The same bundle with `urn:uuid:` addresses, as other senders write transactions."""
    text = json.dumps(bundle)
    for number, entry in enumerate(bundle["entry"]):
        urn = f"urn:uuid:00000000-0000-4000-8000-{number:012}"
        address = entry["fullUrl"].removeprefix(f"{EXPORT.base_url}/")
        text = text.replace(f'"reference": "{address}"', f'"reference": "{urn}"')
        text = text.replace(f'"fullUrl": "{entry["fullUrl"]}"', f'"fullUrl": "{urn}"')
    return json.loads(text)


def found(bundle):
    return {(p.check, p.path.rpartition(".")[2]) for p in problems(bundle)}


REPORTS = [
    {},
    {"screening": None},
    {"photos": ()},
    {"status": ReportStatus.AMENDED, "version": 2},
    {"status": ReportStatus.ENTERED_IN_ERROR, "version": 2},
]


@pytest.mark.parametrize("changes", REPORTS)
@pytest.mark.parametrize("kind", ["transaction", "collection"])
def test_what_the_mapping_makes_passes_every_check(kind, changes):
    bundle = make_bundle(kind, **changes)
    assert problems(bundle) == []
    ensure_sound(bundle)


@pytest.mark.parametrize("changes", REPORTS)
def test_what_the_mapping_makes_passes_a_validator_written_by_others(changes):
    for export in (EXPORT, Export(base_url=EXPORT.base_url, snomed=False)):
        report = make_report(**changes)
        bundle = to_bundle(report, export=export, kind="transaction")
        assert [str(issue) for issue in fhirkit.validate(bundle)] == []
        resources = [*to_resources(report, export=export), to_binary(report, export=export)]
        for resource in resources:
            assert [str(issue) for issue in fhirkit.validate(resource)] == []


def test_a_bundle_with_urn_addresses_passes():
    assert problems(as_urns(make_bundle())) == []


# The five kinds of error that four validators together missed.


def test_a_dangling_reference_is_found():
    for bundle in (make_bundle(), as_urns(make_bundle())):
        del bundle["entry"][0]
        assert (Check.REFERENCE, "onBehalfOf") in found(bundle)


def test_a_dangling_urn_is_found_in_a_search_set_too():
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 1,
        "entry": [
            {
                "fullUrl": f"{EXPORT.base_url}/Patient/patient-1",
                "resource": held(make_bundle(), "Patient/patient-1"),
            }
        ],
    }
    assert problems(bundle) == []
    organization = bundle["entry"][0]["resource"]["managingOrganization"]
    organization["reference"] = "urn:uuid:00000000-0000-4000-8000-000000000000"
    assert found(bundle) == {(Check.REFERENCE, "managingOrganization")}


@pytest.mark.parametrize("spelled", [lambda b: b, as_urns])
def test_a_device_as_performer_is_found_also_behind_a_urn(spelled):
    bundle = make_bundle()
    device = held(bundle, "Observation/case-1-ai")["device"]
    held(bundle, "DiagnosticReport/case-1")["performer"].append(dict(device))
    bundle = spelled(bundle)
    assert found(bundle) == {(Check.TARGET, "performer[2]")}


@pytest.mark.parametrize(
    "wrong",
    [
        "2026-02-30T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "2026-11-20T25:00:00Z",
        "2026-11-20 10:00:00Z",
        "2026-11-20T10:00:00",
        "2026-11-20",
        "2026",
        "",
    ],
)
def test_a_moment_that_cannot_be_is_found(wrong):
    bundle = make_bundle()
    held(bundle, "DiagnosticReport/case-1")["effectiveDateTime"] = wrong
    assert (Check.DATE, "effectiveDateTime") in found(bundle)


@pytest.mark.parametrize("wrong", ["2026-02-30", "1900-02-29", "30.04.1961", "1961-4-30", "0000"])
def test_a_birth_date_that_cannot_be_is_found(wrong):
    bundle = make_bundle()
    held(bundle, "Patient/patient-1")["birthDate"] = wrong
    assert (Check.DATE, "birthDate") in found(bundle)


@pytest.mark.parametrize("right", ["2000-02-29", "1961-04", "1961"])
def test_a_birth_date_may_be_partial(right):
    bundle = make_bundle()
    held(bundle, "Patient/patient-1")["birthDate"] = right
    assert problems(bundle) == []


@pytest.mark.parametrize("agent", [0, 1])
@pytest.mark.parametrize("spelled", [lambda b: b, as_urns])
def test_an_agent_on_behalf_of_nobody_is_found(agent, spelled):
    bundle = make_bundle()
    del held(bundle, "Provenance/case-1-provenance")["agent"][agent]["onBehalfOf"]
    assert found(spelled(bundle)) == {(Check.PROVENANCE, f"agent[{agent}]")}


@pytest.mark.parametrize(
    ("right", "wrong"), [('"400010006"', '"400010007"'), ('"34759-1"', '"34759-2"')]
)
def test_a_wrong_check_digit_is_found(right, wrong):
    text = json.dumps(make_bundle())
    assert right in text
    wrongs = problems(json.loads(text.replace(right, wrong)))
    assert wrongs
    assert {p.check for p in wrongs} == {Check.CODE}


# What the libraries find in part.


@pytest.mark.parametrize(
    ("address", "element"),
    [
        ("DiagnosticReport/case-1", "status"),
        ("DiagnosticReport/case-1", "code"),
        ("Observation/case-1-ai", "status"),
        ("Media/photo-1", "content"),
        ("Provenance/case-1-provenance", "recorded"),
        ("DocumentReference/case-1-report", "status"),
    ],
)
def test_a_missing_required_element_is_found(address, element):
    bundle = make_bundle()
    del held(bundle, address)[element]
    assert (Check.STRUCTURE, element) in found(bundle)


@pytest.mark.parametrize(
    ("address", "element", "value"),
    [
        ("DiagnosticReport/case-1", "status", "finished"),
        ("Observation/case-1-finding", "status", "corrected "),
        ("Patient/patient-1", "gender", "w"),
    ],
)
def test_a_value_outside_its_value_set_is_found(address, element, value):
    bundle = make_bundle()
    held(bundle, address)[element] = value
    assert (Check.STATUS, element) in found(bundle)


def test_an_unknown_element_is_found():
    bundle = make_bundle()
    held(bundle, "Patient/patient-1")["password"] = "hunter2"
    (problem,) = problems(bundle)
    assert problem.check is Check.STRUCTURE
    assert "hunter2" not in f"{problem.path} {problem.message}"


@pytest.mark.parametrize("hollow", [[], {}, "", "  "])
def test_an_empty_element_is_found(hollow):
    bundle = make_bundle()
    held(bundle, "DiagnosticReport/case-1")["conclusion"] = hollow
    assert (Check.EMPTY, "conclusion") in found(bundle)


@pytest.mark.parametrize("element", ["effectiveDateTime", "category"])
def test_a_report_without_what_us_core_asks_is_found(element):
    bundle = make_bundle()
    del held(bundle, "DiagnosticReport/case-1")[element]
    assert {p.check for p in problems(bundle)} == {Check.REPORT}


def test_a_class_of_the_ai_in_the_conclusion_is_found():
    bundle = make_bundle()
    ai = held(bundle, "Observation/case-1-ai")
    report = held(bundle, "DiagnosticReport/case-1")
    report["conclusionCode"].append(copy.deepcopy(ai["valueCodeableConcept"]))
    assert found(bundle) == {(Check.REPORT, "conclusionCode")}


def test_the_rules_of_bundles_are_kept():
    transaction = make_bundle()
    transaction["total"] = 13
    del transaction["entry"][0]["request"]
    transaction["entry"].append(copy.deepcopy(transaction["entry"][1]))
    assert found(transaction) == {
        (Check.BUNDLE, "total"),
        (Check.BUNDLE, "entry[0]"),
        (Check.BUNDLE, "entry[13]"),
    }
    collection = make_bundle("collection")
    collection["entry"][2]["request"] = {"method": "PUT", "url": "Patient/patient-1"}
    assert found(collection) == {(Check.BUNDLE, "entry[2]")}


def test_contained_resources_resolve_by_their_fragment():
    patient = copy.deepcopy(held(make_bundle(), "Patient/patient-1"))
    patient["contained"] = [{"resourceType": "Organization", "id": "home", "name": "Clinic"}]
    patient["managingOrganization"] = {"reference": "#home"}
    assert problems(patient) == []
    patient["managingOrganization"] = {"reference": "#away"}
    assert found(patient) == {(Check.REFERENCE, "managingOrganization")}


def test_an_unsound_resource_is_refused_with_its_places_but_no_values():
    bundle = make_bundle()
    held(bundle, "Patient/patient-1")["birthDate"] = "1961-02-31"
    with pytest.raises(UnsoundResourceError, match=r"Patient|birthDate") as refused:
        ensure_sound(bundle)
    assert "1961" not in str(refused.value)
    assert Check.DATE in {p.check for p in refused.value.problems}


@pytest.mark.parametrize(
    "nonsense", [{}, {"resourceType": "Foo"}, {"resourceType": 3}, {"resourceType": "Coding"}]
)
def test_what_is_no_resource_is_a_problem(nonsense):
    assert problems(nonsense)[0].check is Check.STRUCTURE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["reference", "system", "code", "id"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_bundle_breaks_the_checks_themselves(data):
    bundle = make_bundle()
    entry = data.draw(st.sampled_from(bundle["entry"]))
    node = data.draw(st.sampled_from([bundle, entry, entry["resource"]]))
    node[data.draw(st.sampled_from(sorted(node)))] = data.draw(JSON)
    assert isinstance(problems(bundle), list)


# A validator with the definitions of US Core, where that package is at hand.


def judge():
    packages = {"localPackagePaths": [str(US_CORE)]} if US_CORE.exists() else {}
    config = {"fhirVersion": "4.0.1", "terminology": {"mode": "local"}, **packages}
    return Validator(ValidatorConfig.load_dict(config))


def test_a_second_validator_of_others_agrees():
    validator = judge()
    false_alarms = {
        # Its local value set knows no LOINC filters, so it holds every LOINC type for wrong.
        ("profile.binding.required", "DocumentReference.type"),
        ("profile.element.binding.required", "DocumentReference.type"),
        # Without an R4 core package it knows only the statuses up to `final`; ours are checked.
        ("terminology.required", "DiagnosticReport.status"),
        ("terminology.required", "Observation.status"),
    }
    for changes in REPORTS:
        report = validator.validate_resource(make_bundle(**changes))
        errors = {(i.code, i.path) for i in report.errors}
        assert errors <= false_alarms, [i.message for i in report.errors]


def test_the_validators_of_others_are_awake():
    bundle = make_bundle()
    del held(bundle, "DiagnosticReport/case-1")["status"]
    assert fhirkit.validate(bundle)
    assert "DiagnosticReport.status" in {i.path for i in judge().validate_resource(bundle).errors}


@pytest.mark.parametrize("diagnosis", sorted(LESION_CLASSES))
def test_every_class_makes_a_sound_report(diagnosis):
    finding = replace(FINDING, diagnosis=diagnosis, icd10=None)
    assert problems(make_bundle(finding=finding)) == []
