"""`python -m worker PROGRAM`: starts one of the background programs."""

import argparse
import sys

from clinic.master_key import MasterKeyError
from config import Settings, SettingsError
from ml.artifact import BundleError
from worker.app import PROGRAMS

CANNOT_START = 78  # EX_CONFIG of sysexits.h: a restart will not help


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("program", choices=sorted(PROGRAMS))
    name, run = PROGRAMS[parser.parse_args().program]
    try:
        run(Settings.from_env(name))
    except (SettingsError, MasterKeyError, BundleError) as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_START
    return 0


if __name__ == "__main__":
    sys.exit(main())
