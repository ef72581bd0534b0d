"""How urgencies are ordered in rows: the smaller number is looked at first."""

from ml.triage import Urgency

ORDER = (Urgency.URGENT, Urgency.SUSPICIOUS, Urgency.ROUTINE)


def place_of(urgency: Urgency) -> int:
    return ORDER.index(urgency)


def urgency_at(place: int) -> Urgency:
    return ORDER[place]


def is_suspected_cancer(place: int | None) -> bool:
    """Whether the 28-day standard holds: for all that is more than routine."""
    return place is not None and urgency_at(place) is not Urgency.ROUTINE
