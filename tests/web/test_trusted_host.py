"""Which host is ours, and how much of what stands in X-Forwarded-* is believed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from tests.portal_tools import JSON, another_app, token_of
from tests.world import World
from web.database import db
from web.permission import public
from web.trusted_host import own_hosts

Make = Callable[..., FlaskClient]
OURS = {"base_url": "https://skin.example"}


@pytest.fixture
def make(world: World, database_url: str, tmp_path: Path) -> Iterator[Make]:
    """`make(trusted_proxies=1)`: a browser of a portal at https://skin.example."""
    made: list[Flask] = []

    def one(**changed: object) -> FlaskClient:
        settings = {"public_url": "https://skin.example", **changed}
        app = another_app(world, database_url, tmp_path, **settings)

        @public
        def seen() -> dict[str, object]:
            found = {"address": request.remote_addr, "host": request.host}
            return {**found, "scheme": request.scheme, "root": request.script_root}

        app.add_url_rule("/seen", view_func=seen)
        made.append(app)
        return app.test_client()

    yield one
    for app in made:
        with app.app_context():
            db.engine.dispose()


def test_a_public_host_is_ours_alone_and_this_machine_has_several_names() -> None:
    assert own_hosts("https://Skin.Example:8443/x") == {"skin.example"}
    assert own_hosts("http://127.0.0.1:8000") == own_hosts("http://localhost")
    assert own_hosts("http://[::1]:8000") == {"127.0.0.1", "::1", "localhost"}


@pytest.mark.parametrize("host", ["skin.example", "SKIN.EXAMPLE", "skin.example:8443"])
def test_our_own_host_is_served_on_any_port(make: Make, host: str) -> None:
    assert make().get("/sign-in", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "skin.example.evil.example", "notskin.example", "127.0.0.1", "localhost"),
        *("skin.example@evil.example", "skin.example/..", "skin.example#", "[::1]", "", "a b"),
        *("skin.example:99999", "skin.example,evil.example", "xn--sn-kka.example"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/sign-in", "/static/js/viewer.js", "/nowhere"])
def test_any_other_host_is_refused_everywhere(make: Make, host: str, path: str) -> None:
    answer = make().get(path, headers={"Host": host, **JSON})

    assert answer.status_code == 400
    assert "does not belong to this service" in answer.json["error"]


def test_a_record_system_gets_an_outcome_for_a_wrong_host(make: Make) -> None:
    answer = make().get("/fhir/R4/metadata", headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json["resourceType"]) == (400, "OperationOutcome")


def test_health_is_asked_for_by_any_name(make: Make) -> None:
    assert make().get("/healthz", headers={"Host": "web:8000"}).status_code == 200


def seen(client: FlaskClient, **headers: str) -> dict[str, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    found: dict[str, str] = client.get("/seen", headers=sent, **OURS).json
    return found


def test_without_a_proxy_nothing_that_is_forwarded_is_believed(make: Make) -> None:
    forged = {"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Proto": "http"}

    found = seen(make(), **forged, X_Forwarded_Host="evil.example", X_Forwarded_Prefix="/evil")

    assert found == {
        "address": "127.0.0.1",
        "host": "skin.example",
        "scheme": "https",
        "root": "",
    }


@pytest.mark.parametrize(
    ("proxies", "address"), [(1, "198.51.100.3"), (2, "198.51.100.2"), (3, "203.0.113.66")]
)
def test_as_many_proxies_are_believed_as_are_set_counted_from_the_right(
    make: Make, proxies: int, address: str
) -> None:
    chain = "203.0.113.66, 198.51.100.2, 198.51.100.3"

    assert seen(make(trusted_proxies=proxies), X_Forwarded_For=chain)["address"] == address


def test_too_short_a_chain_is_believed_in_nothing(make: Make) -> None:
    found = seen(make(trusted_proxies=2), X_Forwarded_For="203.0.113.66")

    assert found["address"] == "127.0.0.1"


def test_behind_a_proxy_host_and_prefix_are_still_not_taken_over(make: Make) -> None:
    found = seen(
        make(trusted_proxies=1),
        X_Forwarded_Host="evil.example",
        X_Forwarded_Port="1",
        X_Forwarded_Prefix="/evil",
    )

    assert (found["host"], found["root"]) == ("skin.example", "")


def test_forged_entries_do_not_lend_an_attacker_new_addresses(make: Make) -> None:
    """The limit on tries counts the address that the nearest proxy saw."""
    client = make(trusted_proxies=1)
    page = client.get("/sign-in", **OURS).text
    token = page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]

    codes = [
        client.post(
            "/sign-in",
            data={"csrf_token": token, "email": f"person{n}@example.org", "password": "x"},
            headers={"X-Forwarded-For": f"203.0.113.{n}, 198.51.100.3"},
            **OURS,
        ).status_code
        for n in range(31)
    ]

    assert codes == [422] * 30 + [429]


def test_a_demo_answers_by_each_name_of_this_machine(app: Flask) -> None:
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert app.test_client().get("/", headers={"Host": host}).status_code == 200
    assert token_of(app.test_client())
