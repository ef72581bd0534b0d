"""The relay's program."""

from clinic.hints import CeleryHints
from config import Settings, needed
from worker.programs.parts import sessions_of, stop_on_signal
from worker.relay import Relay


def run(settings: Settings) -> None:
    hints = CeleryHints(needed(settings.broker_url))
    Relay(sessions_of(settings), hints).run(stop_on_signal())
