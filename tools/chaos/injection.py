"""Runs a program with code of ours in it, put in from outside: the product knows nothing of it.

Python imports a module `sitecustomize` at its start, if there is one. We write one that calls
`inject` of a module in tools/chaos/injected, and put its folder in front of the program's path.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import func, select

from clinic.records.models import ProcessKey
from tools.chaos.processes import end, kill_group
from tools.chaos.scene import START_SECONDS, Scene
from tools.installation import ROOT
from tools.supervisor import Program

STOP_SECONDS = 20.0


@contextmanager
def injected(scene: Scene, name: str, module: str, *arguments: object) -> Iterator[Program]:
    """Run a program with an injection while the block runs, and afterwards without it."""
    folder = scene.installation.folder / "injected" / module
    folder.mkdir(parents=True, exist_ok=True)
    call = f"inject({', '.join(map(repr, arguments))})"
    code = f"from tools.chaos.injected.{module} import inject\n{call}\n"
    (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
    with started_with(scene, name, {"PYTHONPATH": f"{folder}:{ROOT}"}) as program:
        yield program


@contextmanager
def started_with(scene: Scene, name: str, changed: Mapping[str, str]) -> Iterator[Program]:
    """Run a program with other settings while the block runs, and afterwards as it was."""
    before = scene.program(name).env
    restart(scene, name, {**before, **changed})
    try:
        yield scene.program(name)
    finally:
        restart(scene, name, before)


def restart(scene: Scene, name: str, environment: Mapping[str, str] | None = None) -> None:
    """End a program as a deployment does and start it again; wait until it works."""
    stop(scene.program(name))
    start_again(scene, name, environment)


def start_again(scene: Scene, name: str, environment: Mapping[str, str] | None = None) -> None:
    """Start a program that has ended; wait until it works."""
    if environment is not None:
        scene.program(name).env = environment
    _start(scene, [name])


def start_all(scene: Scene) -> None:
    """Start all programs, which have ended; wait until they work."""
    _start(scene, [program.name for program in scene.running.supervisor.programs])


def _start(scene: Scene, names: Sequence[str]) -> None:
    working = [_works(scene, name) for name in names]
    for name in names:
        scene.running.supervisor.start_again(scene.program(name))
    scene.until(
        lambda: all(works() for works in working),
        START_SECONDS,
        what=f"{', '.join(names)} did not come up again",
    )


def stop(program: Program) -> None:
    """End a program: by order, or else by force, as a deployment does."""
    end(program, seconds=STOP_SECONDS)
    kill_group(program)


def _works(scene: Scene, name: str) -> Callable[[], bool]:
    program = scene.program(name)
    starts, workers = program.starts, _workers(scene) if name == "worker" else 0

    def works() -> bool:
        if program.starts == starts:
            return False
        if name == "web":
            return scene.serves()
        return name != "worker" or _workers(scene) > workers

    return works


def _workers(scene: Scene) -> int:
    """How many worker processes have ever loaded the model: no clock is needed to see a new one."""
    query = select(func.count()).select_from(ProcessKey).where(ProcessKey.program == "worker")
    with scene.sessions() as session:
        return session.scalar(query) or 0
