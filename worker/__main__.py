"""`python -m worker PROGRAM`: starts one of the background programs."""

import argparse
import importlib
import sys

from clinic.json_log import start_logging
from clinic.master_key import MasterKeyError
from config import BEAT, KEEPER, MAILER, METRICS, RECONCILER, RELAY, WORKER, Settings, SettingsError
from worker.programs.parts import CannotStartError

CANNOT_START = 78  # EX_CONFIG of sysexits.h: a restart will not help

# Which program's settings each needs. A module is imported only when its program is wanted: torch
# stays out of all but one.
PROGRAMS = {
    "inference": WORKER,
    "keeper": KEEPER,
    "relay": RELAY,
    "reconciler": RECONCILER,
    "beat": BEAT,
    "metrics": METRICS,
    "mailer": MAILER,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("program", choices=sorted(PROGRAMS))
    wanted = parser.parse_args().program
    try:
        settings = Settings.from_env(PROGRAMS[wanted])
        start_logging(PROGRAMS[wanted], settings.log_level)
        importlib.import_module(f"worker.programs.{wanted}").run(settings)
    except (SettingsError, MasterKeyError, CannotStartError) as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
