"""Pages at ten thousand, a hundred thousand and a million cases on PostgreSQL.

Each page is asked of the portal's application in this process, so that neither a network nor a
web server's queue hides the database's part; the keeper answers in the same thread. The sizes take
turns: what slows the machine for a while slows all of them.
"""

import html
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from clinic.fhir_search import PageKey
from clinic.hints import ANSWER_KEY_REQUEST
from clinic.key_files import MASTER_FILE
from clinic.master_key import read_master_key
from clinic.records import accounts
from clinic.records.models import Account
from config import WEB, Settings
from tools import installation as setup
from tools.bench_population import Population, fill
from tools.bench_result import Outcome, Ratio, percentile
from tools.installation import ROOT, Installation
from tools.ports import free_port
from tools.postgres import PostgresServer
from web.app import create_app
from web.database import db
from web.services import EXTENSION
from worker.keeper import Keeper

SIZES: Final = (10_000, 100_000, 1_000_000)
OPEN_CASES: Final = 3_000
ROUNDS: Final = 5
LOADS: Final = 20  # of each page in a round, or fewer where they take longer than this:
ROUND_SECONDS: Final = 2.0
FEWEST_LOADS: Final = 3

Ask = Callable[[], TestResponse]


@dataclass(frozen=True)
class InlineKeeper:
    """Carries key hints out in the sender's thread."""

    keeper: Keeper

    def send(self, task: str, *ids: str) -> None:
        if task == ANSWER_KEY_REQUEST:
            self.keeper.answer(ids[0])


@dataclass(frozen=True)
class Site:
    """A portal over one population, with the people who ask for its pages."""

    installation: Installation
    population: Population
    reader: FlaskClient
    patient: FlaskClient

    def fhir(self, **parameters: str) -> Ask:
        """A search as a fresh client of the clinic: the keeper counts what each one asks for."""
        token = setup.register_ehr_client(self.installation)
        address = f"/fhir/R4/DiagnosticReport?{urlencode(parameters)}"
        headers = {"Authorization": f"Bearer {token}"}
        return lambda: self.reader.get(address, headers=headers)


def queue_page(site: Site) -> dict[str, Ask]:
    """Every filter of the first page, and the second page."""
    client = site.reader
    filters = ("all", "mine", "unclaimed", "urgent", "overdue")
    asked: dict[str, Ask] = {
        name: lambda name=name: client.get("/review", query_string={"show": name})  # type: ignore[misc]
        for name in filters
    }
    behind = _link_behind(client.get("/review"))
    return {**asked, "second page": lambda: client.get(behind)}


def case_page(site: Site) -> dict[str, Ask]:
    """The desk before the first read: photos listed, two texts opened."""
    cases = cycle(site.population.claimed)
    return {"desk": lambda: site.reader.get(f"/review/{next(cases)}")}


def case_list(site: Site) -> dict[str, Ask]:
    return {"list": lambda: site.patient.get("/cases")}


def fhir_search(site: Site) -> dict[str, Ask]:
    """What record systems ask for: the newest, one patient's, a day's, what is new, old pages."""
    people = site.population
    day = people.old_day
    behind = PageKey(people.old_signed_at + timedelta(milliseconds=1), "0" * 32).to_token()
    today = (people.now - timedelta(minutes=1)).isoformat()
    return {
        "newest": site.fhir(_count="20"),
        "patient": site.fhir(patient=people.patient_id, status="final"),
        "day": site.fhir(date=day.date().isoformat(), _count="20"),
        "new since": site.fhir(_lastUpdated=f"ge{today}", _count="20"),
        "since long ago": site.fhir(date=f"ge{day.date().isoformat()}", _count="20"),
        "until long ago": site.fhir(date=f"le{day.date().isoformat()}", _count="20"),
        "old page": site.fhir(_page=behind, _count="20"),
    }


PAGES: Final[dict[str, Callable[[Site], dict[str, Ask]]]] = {
    "queue-page": queue_page,
    "case-page": case_page,
    "case-list": case_list,
    "fhir-search": fhir_search,
}
ALL_OPEN: Final = "queue-page-all-open"


def run(
    names: Sequence[str], *, sizes: Sequence[int] = SIZES, rounds: int = ROUNDS, loads: int = LOADS
) -> Iterator[Outcome]:
    """Measure the named pages on one server; the populations are made once for all of them."""
    with PostgresServer.started() as server:
        usual = [name for name in names if name in PAGES]
        if usual:
            with sites(server, sizes, open_cases=min(OPEN_CASES, sizes[0] // 2)) as found:
                for name in usual:
                    yield measure(name, [PAGES[name](site) for site in found], sizes, rounds, loads)
        if ALL_OPEN in names:
            with sites(server, sizes, open_cases=None) as found:
                asked = [queue_page(site) for site in found]
                yield measure(ALL_OPEN, asked, sizes, rounds, loads)


@contextmanager
def sites(
    server: PostgresServer, sizes: Sequence[int], *, open_cases: int | None
) -> Iterator[list[Site]]:
    """One portal for each size; `open_cases` None leaves every case open."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = []
        for size in sizes:
            installation = Installation(
                Path(folder) / str(size),
                free_port(),
                free_port(),
                ROOT / "ml" / "weights",
                server.fresh_database(),
            )
            setup.prepare(installation)
            stack.callback(installation.engine.dispose)
            waiting = size if open_cases is None else open_cases
            population = fill(installation, cases=size, open_cases=waiting)
            found.append(stack.enter_context(_site(installation, population)))
        yield found


@contextmanager
def _site(installation: Installation, population: Population) -> Iterator[Site]:
    settings = Settings.from_env(WEB, installation.environment())
    app = create_app(replace(settings, broker_url=None))
    parts = app.extensions[EXTENSION]
    keeper = Keeper(
        installation.sessions(),
        read_master_key(installation.key_folder / MASTER_FILE),
        installation.auditor(),
        parts.enrolment_key,
    )
    app.extensions[EXTENSION] = replace(parts, hints=InlineKeeper(keeper))
    with installation.sessions()() as session, session.begin():
        tokens = [
            accounts.start_login(session, session.get_one(Account, account), second_factor=True)
            for account in (population.reader_id, population.patient_account_id)
        ]
    reader, patient = (app.test_client() for _ in tokens)
    for client, token in zip((reader, patient), tokens, strict=True):
        with client.session_transaction() as cookie:
            cookie["_user_id"] = token
    try:
        yield Site(installation, population, reader, patient)
    finally:
        with app.app_context():
            db.engine.dispose()


def measure(
    name: str, asked: Sequence[dict[str, Ask]], sizes: Sequence[int], rounds: int, loads: int
) -> Outcome:
    """Time every way of asking at every size; a ratio compares the largest size with the least."""
    for ways in asked:
        for ask in ways.values():
            _seconds(ask)
    taken: dict[tuple[str, int], list[list[float]]] = {
        (way, size): [] for way in asked[0] for size in sizes
    }
    for _ in range(rounds):
        for way in asked[0]:
            times = _turns([ways[way] for ways in asked], loads)
            for size, seconds in zip(sizes, times, strict=True):
                taken[way, size].append(seconds)
    return Outcome(
        name, _figures(taken), tuple(_ratio(name, way, taken, sizes) for way in asked[0])
    )


def _turns(asks: Sequence[Ask], loads: int) -> list[list[float]]:
    """Seconds of each load, by size; the sizes take turns at every load."""
    times: list[list[float]] = [[] for _ in asks]
    enough_at = time.perf_counter() + ROUND_SECONDS
    for done in range(loads):
        if done >= FEWEST_LOADS and time.perf_counter() > enough_at:
            break
        for seconds, ask in zip(times, asks, strict=True):
            seconds.append(_seconds(ask))
    return times


def _seconds(ask: Ask) -> float:
    start = time.perf_counter()
    answer = ask()
    seconds = time.perf_counter() - start
    if answer.status_code != 200:
        raise LookupError(f"{answer.request.path} answered {answer.status_code}: {answer.text}")
    return seconds


def _figures(taken: dict[tuple[str, int], list[list[float]]]) -> dict[str, dict[str, float]]:
    """p95 in milliseconds over all rounds, by way of asking and size."""
    figures: dict[str, dict[str, float]] = {}
    for (way, size), rounds in taken.items():
        every = [seconds for one in rounds for seconds in one]
        figures.setdefault(way, {})[str(size)] = round(1000 * percentile(every, 0.95), 1)
    return figures


def _ratio(
    name: str, way: str, taken: dict[tuple[str, int], list[list[float]]], sizes: Sequence[int]
) -> Ratio:
    small, large = taken[way, sizes[0]], taken[way, sizes[-1]]
    rounds = tuple(
        percentile(big, 0.95) / percentile(little, 0.95)
        for little, big in zip(small, large, strict=True)
    )
    return Ratio(f"{name}: {way}, {sizes[-1]:,} cases to {sizes[0]:,}", "lower", rounds)


def _link_behind(page: TestResponse) -> str:
    """The address of the next page, as the page itself names it."""
    found = re.search(r'href="([^"]+)" rel="next"', page.text)
    if found is None:
        raise LookupError("The queue has no second page.")
    return html.unescape(found.group(1))
