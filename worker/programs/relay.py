"""The relay's program."""

from clinic.hints import CeleryHints
from config import Settings
from worker.programs.parts import sessions_of, stop_on_signal
from worker.relay import Relay


def run(settings: Settings) -> None:
    hints = CeleryHints(settings.broker_url or "")
    Relay(sessions_of(settings), hints).run(stop_on_signal())
