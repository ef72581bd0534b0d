"""How signed cases were read: how often reader and computer agree, and what its view changes.

Definitions, of cases signed by the reader who read them blind:

- override rate: overrides among the cases in which a computer's view was shown;
- changed to the computer's class: among the cases in which the blind first read differed from the
  computer's likeliest class, those in which the final diagnosis is that class. It counts what the
  computer's view moves, for better or worse (Goddard et al. 2012, JAMIA 19:121);
- of these, where pathology is known: changed to wrong, among first reads that were right beside a
  wrong computer; and changed to right, among first reads that were wrong beside a right one.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from clinic.reading_statistics import Kappa, Middle, Share, kappa, linear, middle
from clinic.urgency import ORDER
from ml.labels import CLASSES

# Fewer say too little to be shown as a rate.
FEWEST_CASES: Final = 20
HOUR: Final = timedelta(hours=1)
MINUTE: Final = timedelta(minutes=1)
DIAGNOSES: Final = (*CLASSES, "other")

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class ReadCase:
    """A signed case. Urgencies are places in clinic.urgency.ORDER.

    `computer` is the class that was likeliest, None where no computer's view was shown; `sorted_as`
    the urgency by which the queue had the case, `urgency` that of the blind first read, None in
    reads of earlier versions. `pathology` is the laboratory's diagnosis where one is known.
    """

    reader_id: str
    model_version: str | None
    first: str
    final: str
    computer: str | None
    overrode: bool
    urgency: int | None
    sorted_as: int
    received_at: datetime
    due_at: datetime
    signed_at: datetime
    started_at: datetime | None
    pathology: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadingSummary:
    """`hours` from arrival to signature, `minutes` from the open case to it."""

    n: int
    with_computer: int
    first_and_computer: Kappa
    final_and_computer: Kappa
    first_and_final: Kappa
    urgency: Kappa
    overrides: Share
    to_computer: Share
    to_wrong: Share
    to_right: Share
    in_time: Share
    hours: Middle
    minutes: Middle


def summarise(cases: Sequence[ReadCase]) -> ReadingSummary:
    seen = [one for one in cases if one.computer is not None]
    differed = [one for one in seen if one.first != one.computer]
    proved = [one for one in differed if one.pathology is not None]
    misled = [one for one in proved if one.first == one.pathology]
    helped = [one for one in proved if one.computer == one.pathology]
    return ReadingSummary(
        n=len(cases),
        with_computer=len(seen),
        first_and_computer=kappa([(one.first, one.computer) for one in seen], DIAGNOSES),
        final_and_computer=kappa([(one.final, one.computer) for one in seen], DIAGNOSES),
        first_and_final=kappa([(one.first, one.final) for one in cases], DIAGNOSES),
        urgency=kappa(
            [(one.urgency, one.sorted_as) for one in cases if one.urgency is not None],
            range(len(ORDER)),
            linear,
        ),
        overrides=_share(seen, lambda one: one.overrode),
        to_computer=_share(differed, lambda one: one.final == one.computer),
        to_wrong=_share(misled, lambda one: one.final == one.computer),
        to_right=_share(helped, lambda one: one.final == one.computer),
        in_time=_share(cases, lambda one: one.signed_at <= one.due_at),
        hours=middle([(one.signed_at - one.received_at) / HOUR for one in cases]),
        minutes=middle(
            [(one.signed_at - one.started_at) / MINUTE for one in cases if one.started_at]
        ),
    )


def summarise_by(
    cases: Sequence[ReadCase], name: Callable[[ReadCase], Name]
) -> dict[Name, ReadingSummary]:
    """Summaries of the cases of each name, those with most cases first."""
    groups: dict[Name, list[ReadCase]] = {}
    for one in cases:
        groups.setdefault(name(one), []).append(one)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return {key: summarise(some) for key, some in ordered}


def _share(cases: Sequence[ReadCase], holds: Callable[[ReadCase], bool]) -> Share:
    return Share(sum(map(holds, cases)), len(cases))
