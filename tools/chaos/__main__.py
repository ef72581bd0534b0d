"""`python -m tools.chaos`: does every fault to a running installation and says what held.

The programs are the real ones, started as `bin/demo` starts them; cases are sealed and sent over
HTTP. Only this machine's own addresses are used, and nothing is left behind, also after Ctrl-C.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import FrameType

from ml.artifact import live_bundle
from tools.chaos import table
from tools.chaos.catalogue import NoSuchFaultError, chosen
from tools.chaos.fault import Fault
from tools.chaos.opening import Plan, opened
from tools.chaos.scene import Scene
from tools.chaos.stacks import LEASE_SECONDS, Broker, Database, NoRedisError, Stack, find_redis
from tools.chaos.trial import Outcome, tried
from tools.installation import ROOT
from tools.postgres import NoPostgresError, find_programs
from tools.running import NotWorkingError

BOTH = (Stack(Database.SQLITE, Broker.VALKEY), Stack(Database.POSTGRES, Broker.REDIS))
INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Ctrl-C, or a signal to end. As KeyboardInterrupt it is no error that a library may catch."""


def main() -> int:
    options = _options()
    for number in SIGNALS:
        signal.signal(number, _stop)
    outcomes: list[Outcome] = []
    notes: list[str] = []
    try:
        outcomes += _earlier(options.made_of)
        stacks, notes = ([], []) if outcomes else _stacks(options)
        plan = Plan(options.weights.resolve(), options.seed, options.short)
        for stack in stacks:
            faults = [fault for fault in chosen(options.fault) if fault.fits(stack)]
            with closing(outcomes_on(stack, faults, plan, runs=options.runs)) as found:
                for outcome in found:
                    outcomes.append(outcome)
                    _say(_line(outcome))
    except Stopped:
        _say("Stopped.")
        return INTERRUPTED
    except (NoSuchFaultError, NoPostgresError, NotWorkingError) as error:
        _say(str(error))
        return 2
    markdown = table.as_markdown(outcomes, heading=[_circumstances(options), *notes])
    _say("\n" + markdown)
    if options.summary is not None:
        table.put_between_marks(options.summary, table.as_summary(outcomes))
    if options.out is not None:
        _leave(options.out, outcomes, markdown)
    return 0 if outcomes and all(one.survived for one in outcomes) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument("--fault", nargs="+", default=[], help="names or numbers; all if not given")
    parser.add_argument("--runs", type=int, default=1, help="how often each fault is tried")
    parser.add_argument("--seed", type=int, default=1, help="of photos, kinds, times and places")
    parser.add_argument("--database", choices=list(Database), help="both stacks if not given")
    parser.add_argument("--broker", choices=list(Broker), help="the usual one of the database")
    parser.add_argument("--short", action="store_true", help="outages of a few seconds only")
    parser.add_argument(
        "--out", type=Path, help="a .json file, or a .md file with the marks for the table"
    )
    parser.add_argument(
        "--summary", type=Path, help="a .md file with the marks, for one line a fault"
    )
    parser.add_argument(
        "--made-of",
        type=Path,
        nargs="+",
        default=[],
        help="run nothing: make the tables of these .json files, as of runs of one stack each",
    )
    parser.add_argument("--weights", type=Path, default=ROOT / "ml" / "weights")
    return parser.parse_args()


def _earlier(files: Sequence[Path]) -> list[Outcome]:
    return [
        one
        for file in files
        for one in table.from_json(json.loads(file.read_text(encoding="utf-8")))
    ]


def _stop(_number: int, _frame: FrameType | None) -> None:
    """End once; a second Ctrl-C would only disturb the cleaning up."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


def _stacks(options: argparse.Namespace) -> tuple[list[Stack], list[str]]:
    """The stacks to run on, and what is to be said of them in the table."""
    usual = {one.database: one.broker for one in BOTH}
    databases = [Database(options.database)] if options.database else list(usual)
    stacks, notes = [], []
    for database in databases:
        broker = Broker(options.broker) if options.broker else usual[database]
        if database is Database.POSTGRES:
            find_programs()
        if broker is Broker.REDIS:
            try:
                find_redis()
            except NoRedisError as error:
                notes.append(f"**Redis was NOT tried: {error}. Valkey stood in for it.**")
                _say(notes[-1])
                broker = Broker.VALKEY
        stacks.append(Stack(database, broker))
    return stacks, notes


def outcomes_on(
    stack: Stack, faults: Sequence[Fault], plan: Plan, *, runs: int
) -> Generator[Outcome, None, None]:
    """Try each fault. One installation serves many, until a fault spoils it."""
    with ExitStack() as held:
        scene: Scene | None = None
        for fault in faults:
            for _ in range(runs):
                if scene is None or fault.fresh:
                    held.close()
                    scene = held.enter_context(opened(stack, plan))
                outcome = tried(scene, fault)
                if fault.fresh or not outcome.survived:
                    held.close()
                    scene = None
                yield outcome


def _circumstances(options: argparse.Namespace) -> str:
    bundle = live_bundle(options.weights).name
    return (
        f"Measured with {os.cpu_count()} processor cores, bundle {bundle}, leases of"
        f" {LEASE_SECONDS} s, seed {options.seed}, {options.runs} run(s) of each fault"
        f"{', short outages' if options.short else ''}."
    )


def _line(one: Outcome) -> str:
    after = "" if one.seconds_to_recover is None else f" after {one.seconds_to_recover:.1f} s"
    word = f"survived{after}" if one.survived else "NOT SURVIVED: " + " ".join(one.problems)
    return f"{one.stack}: {one.fault.number} {one.fault.name}: {word}"


def _leave(out: Path, outcomes: list[Outcome], markdown: str) -> None:
    if out.suffix == ".md":
        table.put_between_marks(out, markdown)
    else:
        out.write_text(json.dumps(table.as_json(outcomes), indent=2) + "\n", encoding="utf-8")


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
