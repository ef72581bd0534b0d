"""The live part of the operations page: a snapshot as tiles and table rows, in words."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import groupby
from typing import Any

from clinic.escalation import PROMISE_WORDS, Level, Promise
from clinic.photo_reject import RejectReason
from clinic.records.operations import (
    CAP,
    OTHER_REASON,
    AuditChain,
    Depth,
    Snapshot,
    is_alive,
)
from web.portal.wording import urgency_word

WAITS_TOO_LONG = timedelta(minutes=2)
KEEPER_IS_SLOW = timedelta(seconds=5)
EPOCH_ENDS_SOON = timedelta(days=3)
EMERGENCY_SHOWN = timedelta(days=7)

STATE_WORDS = {
    "queued": "Wait for the computer",
    "running": "With the computer",
    "awaiting_review": "Wait for a dermatologist",
    "unreadable": "Wait for new photos",
}
RETAKE_WORDS = {
    RejectReason.NOT_A_PHOTO: "Not a photo",
    RejectReason.DAMAGED: "Damaged file",
    RejectReason.FILE_TOO_LARGE: "File too large",
    RejectReason.TOO_MANY_PIXELS: "Too many pixels",
    RejectReason.TOO_SMALL: "Too small",
    RejectReason.ANIMATED: "Moving picture",
    OTHER_REASON: "Asked by a reader, or damaged on the way",
}


def live_part(found: Snapshot) -> dict[str, Any]:
    """What _operations_live.html shows."""
    return {
        "taken_at": found.taken_at,
        "tiles": [
            _workers(found),
            _model(found),
            _keeper(found),
            _line(found),
            _epoch(found),
            _emergency(found),
            chain_tile(found.audit),
            _erasures(found),
        ],
        "queue": [_queue_row(state, list(some), found) for state, some in _by_state(found)],
        "promises": [
            {
                "urgency": urgency_word(one.urgency),
                "overdue": capped(one.overdue),
                "due_soon": capped(one.due_soon),
            }
            for one in found.promises
        ],
        "retakes": [
            (RETAKE_WORDS[RejectReason(code) if code != OTHER_REASON else code], count)
            for code, count in found.retakes.items()
            if count
        ],
        "escalations": [
            {
                "promise": PROMISE_WORDS[promise],
                "warned": found.escalations[promise, Level.WARNING],
                "broken": found.escalations[promise, Level.BREACH],
            }
            for promise in Promise
        ],
        "stages": found.recent.stages,
        "attempts": sorted(found.recent.attempts.items()),
        "workers": [
            {
                "id": one.id[:8],
                "alive": is_alive(one, found.taken_at),
                "last_seen": one.last_seen_at,
                "started": one.started_at,
                "model": one.model_version or "",
                "fingerprint": (one.model_fingerprint or "")[:12],
            }
            for one in found.workers
        ],
    }


def capped(count: int) -> str:
    return f"{CAP:,} or more" if count >= CAP else f"{count:,}"


def _by_state(found: Snapshot) -> Iterable[tuple[str, Iterable[Depth]]]:
    return groupby(found.depths, key=lambda one: one.state)


def _queue_row(state: str, some: list[Depth], found: Snapshot) -> dict[str, Any]:
    return {
        "state": STATE_WORDS[state],
        "counts": [
            {
                "count": capped(one.count),
                "oldest": found.taken_at - one.oldest if one.oldest else None,
            }
            for one in some
        ],
        "total": capped(sum(one.count for one in some)),
    }


def _tile(name: str, good: str, bad: str | None, lines: list[str]) -> dict[str, Any]:
    """`bad` takes the place of `good` where something is wrong."""
    return {
        "name": name,
        "words": bad or good,
        "colour": "red" if bad else "green",
        "lines": lines,
        "bad": bad is not None,
    }


def _workers(found: Snapshot) -> dict[str, Any]:
    alive, recent = len(found.alive_workers), found.recent
    lines = [f"{recent.last_hour:,} cases in the last hour"]
    lines += [f"{engine} on {device}" for engine, device in recent.machines if engine]
    if recent.without_ai:
        lines.append(f"{recent.without_ai} of the newest without the computer")
    return _tile("Workers", f"{alive} alive", None if alive else "None alive", lines)


def _model(found: Snapshot) -> dict[str, Any]:
    worker = next(iter(found.alive_workers), None)
    if worker is None:
        return _tile("Model", "", "None", ['Cases wait for a human, marked "AI unavailable".'])
    fingerprint = f"Fingerprint {worker.model_fingerprint or 'unknown'}"
    versions = {one.model_version for one in found.alive_workers}
    several = f"{len(versions)} versions" if len(versions) > 1 else None
    return _tile("Model", worker.model_version or "unknown", several, [fingerprint])


def _keeper(found: Snapshot) -> dict[str, Any]:
    service = found.key_service
    since = service.oldest_waiting
    slow = since is not None and found.taken_at - since > KEEPER_IS_SLOW
    lines = [f"{service.granted:,} granted and {service.refused:,} refused in 5 minutes"]
    return _tile("Keeper", "Answers", "Does not answer" if slow else None, lines)


def _line(found: Snapshot) -> dict[str, Any]:
    waited = found.taken_at - found.oldest_due if found.oldest_due else timedelta()
    stands = "Stands still" if waited > WAITS_TOO_LONG or found.expired_leases else None
    lines = [
        f"First in line for {waited.total_seconds():,.0f} s",
        f"{found.expired_leases} leases ran out, {capped(found.dead)} cases given up",
    ]
    return _tile("Line", "Moves", stands, lines)


def _epoch(found: Snapshot) -> dict[str, Any]:
    if found.epoch_ends_at is None:
        return _tile("Epoch key", "", "None", ["Nothing can be sent: make a key now."])
    left = found.epoch_ends_at - found.taken_at
    soon = "Ends soon" if left < EPOCH_ENDS_SOON else None
    lines = [f"{left / timedelta(days=1):.1f} days left"]
    lines += [] if found.next_epoch else ["No key follows: make the next ones."]
    return _tile("Epoch key", "Valid", soon, lines)


def _emergency(found: Snapshot) -> dict[str, Any]:
    """Two people opened a case without the keeper: everybody who runs the clinic is to know."""
    at = found.last_emergency
    if at is None:
        return _tile("Emergency access", "Never used", None, [])
    used = "Used" if found.taken_at - at < EMERGENCY_SHOWN else None
    lines = [f"Last used {at:%Y-%m-%d %H:%M} UTC", "The audit log says by whom and why."]
    return _tile("Emergency access", "Not used lately", used, lines)


def chain_tile(chain: AuditChain) -> dict[str, Any]:
    """What the last walk along the audit chain found; a walk begins anew when one ends."""
    lines = [f"{chain.head:,} entries"]
    if chain.checked_at is None:
        return _tile("Audit chain", "", "Not checked yet", lines)
    checked = f"{chain.checked_entries:,} held at {chain.checked_at:%Y-%m-%d %H:%M} UTC"
    if chain.problem is None:
        return _tile("Audit chain", "Intact", None, [*lines, checked])
    return _tile("Audit chain", "", "Broken", [chain.problem, *lines, checked])


def _erasures(found: Snapshot) -> dict[str, Any]:
    """Wishes to be erased: the law gives a month for an answer."""
    waiting = found.erasures
    late = f"{waiting.overdue} late" if waiting.overdue else None
    return _tile("Erasure", "In time", late, [f"{waiting.open} requests wait: see Erasure"])
