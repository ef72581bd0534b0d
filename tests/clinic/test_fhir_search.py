import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinic.fhir_search import (
    MAX_COUNT,
    PageKey,
    Period,
    ReportQuery,
    Search,
    SearchError,
    Token,
    parse_search,
)
from clinic.report_values import ReportStatus
from tests.clinic.report_factory import make_report

BASE = "https://derm.example/fhir/R4"


def parse(*pairs, strict=False):
    return parse_search(pairs, base_url=BASE, strict=strict)


def query(*pairs):
    return parse(*pairs).query


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("name", ["patient", "subject", "subject:Patient"])
@pytest.mark.parametrize("value", ["p-1", "Patient/p-1", f"{BASE}/Patient/p-1"])
def test_a_patient_is_named_by_id_reference_or_address(name, value):
    assert query((name, value)).patient_id == "p-1"


@pytest.mark.parametrize("value", ["Practitioner/p-1", "p-1,p-2", "https://x.example/Patient/1"])
def test_what_is_not_one_patient_is_refused(value):
    with pytest.raises(SearchError, match="patient"):
        parse(("patient", value))


def test_two_patients_at_once_match_nothing():
    assert query(("patient", "p-1"), ("subject", "Patient/p-2")).nothing
    assert not query(("patient", "p-1"), ("subject", "Patient/p-1")).nothing


def test_identifiers_are_tokens():
    assert query(("patient.identifier", "urn:x|77")).patient_identifiers == (Token("urn:x", "77"),)
    assert query(("patient.identifier", "77")).patient_identifiers == (Token(None, "77"),)
    assert query(("identifier", "c-1")).case_ids == {"c-1"}
    ours = "https://dermqueue.org/fhir/sid/case|c-1"
    assert query(("identifier", ours)).case_ids == {"c-1"}
    assert query(("identifier", "urn:other|c-1")).nothing
    with pytest.raises(SearchError, match="identifier"):
        parse(("identifier", "urn:x|"))


def test_repeated_parameters_narrow_and_commas_widen():
    assert query(("_id", "a,b"), ("_id", "b,c")).case_ids == {"b"}
    assert query(("_id", "a"), ("_id", "c")).nothing
    both = query(("status", "final,amended"))
    assert both.statuses == {ReportStatus.FINAL, ReportStatus.AMENDED}
    assert query(("status", "final"), ("status", "amended")).nothing


def test_a_status_that_no_report_here_has_matches_nothing():
    assert query(("status", "preliminary")).nothing
    assert query(("status", "http://hl7.org/fhir/diagnostic-report-status|final")).statuses == {
        ReportStatus.FINAL
    }
    assert query(("status", "urn:x|final")).nothing
    with pytest.raises(SearchError, match="status"):
        parse(("status", "unsigned"))


def test_without_a_status_every_signed_one_is_meant_and_never_the_unsigned():
    assert ReportStatus.UNSIGNED not in query().statuses
    assert len(query().statuses) == len(ReportStatus) - 1


@pytest.mark.parametrize("value", ["LP29684-5", "http://loinc.org|LP29684-5", "IMG", "x,IMG"])
def test_the_categories_of_every_report_find_them(value):
    assert not query(("category", value)).nothing


@pytest.mark.parametrize("value", ["LP29708-2", "urn:x|IMG", "|IMG", "LAB"])
def test_a_foreign_category_finds_nothing(value):
    assert query(("category", value)).nothing


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [
        ("2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026-02", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("eq2026-02-28", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
        ("2026-11-21T14:00:05Z", "2026-11-21T14:00:05Z", "2026-11-21T14:00:06Z"),
        ("2026-11-21T14:00+02:00", "2026-11-21T12:00:00Z", "2026-11-21T12:01:00Z"),
        ("2026-11-21T14:00 02:00", "2026-11-21T12:00:00Z", "2026-11-21T12:01:00Z"),
        ("ge2026-11-21", "2026-11-21T00:00:00Z", None),
        ("gt2026-11-21", "2026-11-22T00:00:00Z", None),
        ("lt2026-11-21", None, "2026-11-21T00:00:00Z"),
        ("le2026-11-21", None, "2026-11-22T00:00:00Z"),
    ],
)
def test_a_date_means_the_whole_of_its_precision(value, start, end):
    expected = Period(start and at(start), end and at(end))
    assert query(("date", value)).effective == expected
    assert query(("issued", value)).signed == expected
    assert query(("_lastUpdated", value)).signed == expected


@pytest.mark.parametrize(
    "value", ["2026-02-30", "26", "ap2026", "ne2026", "2026-1-1", "2026-11-21T25:00Z", "9999", "x"]
)
def test_a_date_that_cannot_be_is_refused(value):
    with pytest.raises(SearchError, match="date"):
        parse(("date", value))


def test_two_dates_make_a_span():
    span = query(("date", "ge2026-01-01"), ("date", "lt2026-02-01")).effective
    assert span.holds(at("2026-01-01T00:00:00Z"))
    assert not span.holds(at("2026-02-01T00:00:00Z"))
    assert not span.holds(at("2025-12-31T23:59:59Z"))


def test_the_count_is_bounded_and_may_be_zero():
    assert parse(("_count", "5")).count == 5
    assert parse(("_count", "0")).count == 0
    assert parse(("_count", "1000000")).count == MAX_COUNT
    assert parse(("_summary", "count")).count == 0
    for wrong in ("-1", "1.5", "x", "٣"):
        with pytest.raises(SearchError, match="_count"):
            parse(("_count", wrong))


def test_includes_name_the_types_they_bring():
    assert parse(("_include", "DiagnosticReport:result")).included == {"Observation"}
    assert parse(("_include", "DiagnosticReport:performer")).included == {
        "Organization",
        "Practitioner",
    }
    only = parse(("_include", "DiagnosticReport:performer:Practitioner"))
    assert only.included == {"Practitioner"}
    back = parse(("_revinclude", "Provenance:target"), ("_include", "DiagnosticReport:subject"))
    assert back.included == {"Provenance", "Patient"}


@pytest.mark.parametrize(
    "pair",
    [
        ("_include", "Patient:general-practitioner"),
        ("_revinclude", "DiagnosticReport:result"),
        ("_summary", "text"),
        ("colour", "red"),
    ],
)
def test_the_unknown_is_ignored_unless_strictness_is_asked_for(pair):
    lenient = parse(pair)
    assert lenient == Search()
    with pytest.raises(SearchError, match=pair[0]):
        parse(pair, strict=True)


@pytest.mark.parametrize("name", ["patient:missing", "status:not", "patient.name", "date:exact"])
def test_an_unknown_modifier_or_chain_is_always_refused(name):
    with pytest.raises(SearchError, match="not supported"):
        parse((name, "x"))


def test_a_parameter_without_a_value_is_refused():
    with pytest.raises(SearchError, match="no value"):
        parse(("patient", " "))


def test_only_what_counted_is_echoed():
    search = parse(("patient", "p"), ("colour", "red"), ("_format", "json"), ("_count", "5"))
    assert search.used == (("patient", "p"), ("_count", "5"))


def test_the_place_of_a_page_survives_its_token():
    report = make_report(signed_at=datetime(2026, 11, 21, 14, 0, 5, 123456, tzinfo=UTC))
    key = PageKey.of(report, ReportQuery())
    again = parse(("_page", key.to_token()), ("patient", "p"))
    assert again.after == key
    assert again.filters == (("patient", "p"),)


def test_the_place_of_a_page_is_a_time_of_what_was_searched_by():
    report = make_report()
    by_sending = ReportQuery(effective=Period(start=report.case.submitted_at))
    assert PageKey.of(report, ReportQuery()).at == report.signed_at
    assert PageKey.of(report, by_sending).at == report.case.submitted_at


@pytest.mark.parametrize(
    ("value", "accurate"), [("accurate", True), ("estimate", False), ("none", False)]
)
def test_who_wants_an_accurate_total_says_so(value, accurate):
    assert parse(("_total", value)).exact is accurate
    assert parse(("_total", value), ("_count", "0")).exact


def page_token(*place):
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


@pytest.mark.parametrize(
    "token",
    [
        *("x", "é", "e30=", "W10=", "WyJhIiwxXQ==", "[" * 5000, "A" * 8),
        *(page_token("0001-01-01T00:00:00+23:59", "a"), page_token("2026-01-01", "a")),
        *(page_token("2026-01-01T00:00:00Z", "a\0"), page_token("2026-01-01T00:00:00Z", 5)),
        page_token("2026-01-01T00:00:00Z", ""),
    ],
)
def test_a_made_up_page_is_refused(token):
    with pytest.raises(SearchError, match="_page"):
        parse(("_page", token))


NAMES = st.sampled_from(
    ["patient", "identifier", "status", "date", "issued", "_page", "_count", "_include", "x"]
)


@settings(max_examples=300, deadline=None)
@given(pairs=st.lists(st.tuples(NAMES, st.text(max_size=30)), max_size=4), strict=st.booleans())
def test_any_text_gives_a_query_or_a_refusal(pairs, strict):
    try:
        search = parse(*pairs, strict=strict)
    except SearchError as refusal:
        assert refusal.parameter in {name for name, _ in pairs}  # noqa: PT017
    else:
        assert 0 <= search.count <= MAX_COUNT


@settings(max_examples=200, deadline=None)
@given(
    moment=st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    offset=st.integers(-14 * 60, 14 * 60),
)
def test_equal_finds_the_second_that_was_named(moment, offset):
    zone = timedelta(minutes=offset)
    local = moment.replace(microsecond=0)
    sign = "-" if offset < 0 else "+"
    text = f"{local.isoformat()}{sign}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    assert query(("date", text)).effective.holds((local - zone).replace(tzinfo=UTC))
