import pytest

from web.fhir_negotiation import wants_json, wants_page


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "application/json",
        "application/fhir+json",
        "application/fhir+json, */*; q=0.1",
        "application/fhir+json; fhirVersion=4.0",
        "text/html, application/json;q=0.5",
        "application/*",
        "APPLICATION/FHIR+JSON",
    ],
)
def test_what_fhir_clients_send_gets_json(accept):
    assert wants_json(accept=accept, requested_format=None)


@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+xml",
        "text/html",
        "image/png",
        "application/json;q=0",
        "application/json; q=0.000",
        "application/fhir+json; fhirVersion=5.0",
        ",",
    ],
)
def test_what_is_not_offered_is_not_acceptable(accept):
    assert not wants_json(accept=accept, requested_format=None)


@pytest.mark.parametrize("requested", ["json", "application/json", "application/fhir+json"])
def test_the_format_parameter_wins_over_the_header(requested):
    assert wants_json(accept="application/fhir+xml", requested_format=requested)
    assert not wants_json(accept="application/json", requested_format="xml")
    assert not wants_json(accept="application/json", requested_format="")


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("*/*", True),
        (None, True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", True),
        ("application/fhir+json", False),
        ("application/fhir+json, */*; q=0.1", False),
        ("image/png", False),
    ],
)
def test_a_binary_goes_out_as_the_page_unless_fhir_is_asked_for(accept, page):
    assert wants_page(accept=accept, requested_format=None) is page
    assert not wants_page(accept=accept, requested_format="json")
    assert wants_page(accept=accept, requested_format="text/html")
