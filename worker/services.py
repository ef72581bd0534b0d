"""The parts that screening works with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from secrets import SystemRandom

from clinic.photo import Rendition
from clinic.records.audit_log import Auditor
from clinic.records.blobs import BlobStore
from clinic.records.db import SessionFactory
from clinic.records.keeper_client import KeeperClient
from worker.analysis import Analyst

Decode = Callable[[bytes], Rendition]


def nothing_to_note() -> None:
    """Nobody watches the progress."""


@dataclass(frozen=True)
class ScreeningServices:
    """Made once for each process.

    `opening_threads` photos are opened and decoded at a time. `note_progress` is called whenever
    the work has moved. `share` draws from 0..1: how much of the longest pause a retry waits.
    """

    sessions: SessionFactory
    blobs: BlobStore
    keeper: KeeperClient
    auditor: Auditor
    decode: Decode
    analyst: Analyst
    root_public_key: bytes
    lease: timedelta
    opening_threads: int = 2
    note_progress: Callable[[], None] = nothing_to_note
    share: Callable[[], float] = SystemRandom().random
