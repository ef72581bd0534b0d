"""The installation's state as Prometheus reads it: one look at the database for each scrape.

Labels are codes of closed vocabularies, never an id. Counts stop at 10,000.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from clinic.records import live_answers
from clinic.records.db import DATABASE_AWAY, SessionFactory
from clinic.records.live_answers import ModelDrift
from clinic.records.operations import KeyService, Recent, Snapshot, snapshot
from clinic.urgency import urgency_at

UNSORTED = "unsorted"
Rows = Iterable[tuple[tuple[str, ...], float]]


@dataclass(frozen=True)
class InstallationCollector(Collector):
    """Asks the database anew for each scrape; without it only `dermqueue_database_up` is told."""

    sessions: SessionFactory

    def describe(self) -> list[Metric]:
        """Nothing, so that registering it asks no database."""
        return []

    def collect(self) -> Iterator[Metric]:
        try:
            with self.sessions() as session:
                found, drift = snapshot(session), live_answers.model_drift(session)
        except DATABASE_AWAY:
            yield GaugeMetricFamily("dermqueue_database_up", _UP, value=0)
            return
        yield GaugeMetricFamily("dermqueue_database_up", _UP, value=1)
        yield from families(found, drift)


_UP = "Whether the database answered this scrape."


def families(found: Snapshot, drift: ModelDrift | None) -> Iterator[Metric]:
    """Every metric of one look."""
    yield from _queue(found)
    yield from _people(found)
    yield from _recent(found.recent)
    yield from _keys(found.key_service, found)
    yield from _workers(found)
    yield from _audit(found)
    yield from _erasures(found)
    yield from _drift(drift)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"dermqueue_{name}", words, value=value)


def _labelled(name: str, words: str, labels: tuple[str, ...], rows: Rows) -> Metric:
    family = GaugeMetricFamily(f"dermqueue_{name}", words, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def _age(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def _word(urgency: int | None) -> str:
    return UNSORTED if urgency is None else str(urgency_at(urgency))


def _queue(found: Snapshot) -> Iterator[Metric]:
    now, labels = found.taken_at, ("state", "urgency")
    places = [((one.state, _word(one.urgency)), one) for one in found.depths]
    yield _labelled(
        "cases",
        "Cases by state and urgency; 10000 means so many or more.",
        labels,
        [(place, one.count) for place, one in places],
    )
    yield _labelled(
        "oldest_case_age_seconds",
        "Age of the case in front, 0 where none is.",
        labels,
        [(place, _age(one.oldest, now)) for place, one in places],
    )
    yield _gauge(
        "oldest_due_seconds",
        "How long the first case in line has waited for a worker.",
        _age(found.oldest_due, now),
    )
    yield _gauge(
        "oldest_unhinted_seconds",
        "How long a due case has waited for its first hint.",
        _age(found.never_hinted, now),
    )
    yield _gauge("expired_leases", "Cases whose worker lost its lease.", found.expired_leases)
    yield _gauge("dead_cases", "Cases read without the computer that wait for review.", found.dead)


def _people(found: Snapshot) -> Iterator[Metric]:
    yield _labelled(
        "overdue_cases",
        "Unsigned cases past their due time.",
        ("urgency",),
        [((_word(one.urgency),), one.overdue) for one in found.promises],
    )
    yield _labelled(
        "due_soon_cases",
        "Unsigned cases that are due within four hours.",
        ("urgency",),
        [((_word(one.urgency),), one.due_soon) for one in found.promises],
    )
    yield _labelled(
        "escalations",
        "Promises that came near their limit, or broke, within 28 days.",
        ("promise", "level"),
        [
            ((str(promise), str(level)), count)
            for (promise, level), count in found.escalations.items()
        ],
    )
    yield _labelled(
        "retake_requests",
        "Cases that wait for new photos, by the reason.",
        ("reason",),
        [((str(reason),), count) for reason, count in found.retakes.items()],
    )


def _recent(recent: Recent) -> Iterator[Metric]:
    every = (*recent.stages, *([recent.to_report] if recent.to_report else []))
    yield _labelled(
        "stage_seconds",
        "Seconds of each stage over the newest 500 results or reports.",
        ("stage", "statistic"),
        [
            ((one.stage.replace(" ", "_"), name), value)
            for one in every
            for name, value in (("median", one.median), ("p95", one.p95), ("max", one.longest))
        ],
    )
    yield _gauge("results_last_hour", "Screenings finished within an hour.", recent.last_hour)
    yield _labelled(
        "recent_results",
        "The newest 500 results by the number of attempts that they took.",
        ("attempts",),
        [((str(attempt),), count) for attempt, count in recent.attempts.items()],
    )
    yield _labelled(
        "recent_results_by_machine",
        "The newest 500 results by the engine and the device that computed them.",
        ("engine", "device"),
        recent.machines.items(),
    )
    yield _gauge(
        "recent_results_without_ai",
        "Of the newest 500 results, those without the computer's view.",
        recent.without_ai,
    )


def _keys(service: KeyService, found: Snapshot) -> Iterator[Metric]:
    yield _labelled(
        "key_requests",
        "Requests to the keeper of the last five minutes, by state.",
        ("state",),
        [
            (("waiting",), service.waiting),
            (("granted",), service.granted),
            (("refused",), service.refused),
        ],
    )
    yield _gauge(
        "oldest_key_request_seconds",
        "How long the first request in line waits for the keeper.",
        _age(service.oldest_waiting, found.taken_at),
    )
    left = (found.epoch_ends_at - found.taken_at).total_seconds() if found.epoch_ends_at else 0.0
    yield _gauge("epoch_key_seconds_left", "Until no epoch key is valid any more.", left)
    yield _gauge("next_epoch_key", "Whether a key follows the present one.", found.next_epoch)
    if found.last_emergency is not None:
        age = _age(found.last_emergency, found.taken_at)
        yield _gauge("emergency_access_seconds", "Since two people opened a case by escrow.", age)


def _workers(found: Snapshot) -> Iterator[Metric]:
    yield _gauge("workers_alive", "Workers seen within 45 seconds.", len(found.alive_workers))
    seen = found.workers[0].last_seen_at if found.workers else None
    if seen is not None:
        yield _gauge(
            "worker_last_seen_seconds",
            "Since a worker was seen; absent where none was for a day.",
            _age(seen, found.taken_at),
        )
    models = {(one.model_version or "", one.model_fingerprint or "") for one in found.alive_workers}
    family = InfoMetricFamily(
        "dermqueue_model", "Models that living workers hold.", labels=("version",)
    )
    for version, fingerprint in sorted(models):
        family.add_metric((version,), {"fingerprint": fingerprint})
    yield family


def _audit(found: Snapshot) -> Iterator[Metric]:
    chain = found.audit
    yield _gauge("audit_head", "Entries of the audit chain.", chain.head)
    yield _gauge("audit_checked_entries", "Entries that the last walk saw.", chain.checked_entries)
    if chain.checked_at is not None:
        intact = chain.problem is None
        yield _gauge("audit_intact", "Whether the last whole walk found no fault.", intact)
        age = _age(chain.checked_at, found.taken_at)
        yield _gauge("audit_check_age_seconds", "Since the last whole walk ended.", age)


def _erasures(found: Snapshot) -> Iterator[Metric]:
    yield _gauge(
        "erasure_requests",
        "Patients' wishes to be erased that are not answered or not done.",
        found.erasures.open,
    )
    yield _gauge(
        "erasure_requests_overdue",
        "Those of them whose time to answer is over.",
        found.erasures.overdue,
    )


def _drift(model: ModelDrift | None) -> Iterator[Metric]:
    if model is None:
        return
    signals = model.drift.signals
    yield _labelled(
        "drift_level",
        "-1 collecting, 0 steady, 1 watch (one side moved), 2 alarm (both sides moved).",
        ("version",),
        [((model.model_version,), model.drift.level.rank)],
    )
    labels = ("signal", "side")
    places = [((one.name.lower().replace(" ", "_"), str(one.side)), one) for one in signals]
    yield _labelled(
        "drift_distance",
        "Distance of the newest results from the model's first, 0 to 1.",
        labels,
        [(place, one.distance) for place, one in places],
    )
    yield _labelled(
        "drift_shifted",
        "Whether the signal differs more than chance explains.",
        labels,
        [(place, one.shifted) for place, one in places],
    )
