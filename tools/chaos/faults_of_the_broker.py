"""Faults of the broker: killed without a memory, frozen, full, emptied, fed with garbage."""

import json
import shutil
import signal
import time

import httpx

from clinic.hints import INFERENCE_QUEUE, KEYS_QUEUE
from tools.chaos.fault import Fault
from tools.chaos.processes import kill_group, parent, signal_group
from tools.chaos.scene import Scene

DOWN_SECONDS = 10.0
BACK_SECONDS = 10.0
FREEZES = 3
FROZEN_SECONDS = 5.0  # the programs' time-out for the broker is 3 s
# A frozen broker must not hold up a patient: only the counting of rates asks it, for half a second.
SLOWEST_UPLOAD_SECONDS = 8.0
FULL_MEMORY = "5mb"
TAKEN_SECONDS = 150.0  # a worker that the last message stopped loads its networks first
HUGE_MESSAGE_BYTES = 8 * 1024 * 1024
PICKLE = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94."


def kill_broker_without_memory(scene: Scene) -> None:
    """SIGKILL, and everything that it had written is gone; uploads go on all the while."""
    forget_everything(scene, away=scene.lasting(DOWN_SECONDS, short=3.0))
    scene.submit(2)
    scene.until(
        lambda: _answers(scene), DOWN_SECONDS + BACK_SECONDS, what="the broker did not come back"
    )
    _all_accepted(scene)


def forget_everything(scene: Scene, *, away: float) -> None:
    """SIGKILL the broker and delete its files; the supervisor starts it after `away` seconds."""
    broker = scene.program("broker")
    kill_group(broker)
    for path in (scene.installation.folder / "broker").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    broker.restart_at = time.monotonic() + away


def freeze_broker(scene: Scene) -> None:
    """SIGSTOP three times, each time for longer than any program waits for an answer."""
    for _ in range(FREEZES):
        scene.submit(1)
        signal_group(scene.program("broker"), signal.SIGSTOP)
        try:
            scene.submit(1)
            scene.pause(FROZEN_SECONDS)
        finally:
            signal_group(scene.program("broker"), signal.SIGCONT)
        scene.pause(float(scene.random.uniform(0.5, 3.0)))
    _all_accepted(scene)
    slowest = max(one.seconds for one in scene.sendings)
    scene.must(slowest < SLOWEST_UPLOAD_SECONDS, f"An upload took {slowest:.1f} s.")


def fill_broker(scene: Scene) -> None:
    """No memory is left in the broker: it answers every write with an error."""
    starts = {one.name: one.starts for one in scene.running.supervisor.programs}
    with scene.broker() as broker:
        before = broker.config_get("maxmemory")["maxmemory"]
        broker.set("ballast", b"x" * HUGE_MESSAGE_BYTES)
        broker.config_set("maxmemory", FULL_MEMORY)
        try:
            scene.submit(2)
            scene.pause(scene.lasting(DOWN_SECONDS, short=4.0))
        finally:
            broker.config_set("maxmemory", before)
            broker.delete("ballast")
    _all_accepted(scene)
    for one in scene.running.supervisor.programs:
        scene.must(one.starts == starts[one.name], f"The {one.name} crashed.")


def flush_broker(scene: Scene) -> None:
    """FLUSHALL several times, each between two cases."""
    with scene.broker() as broker:
        for _ in range(5):
            scene.submit(1)
            broker.flushall()
            scene.pause(0.3)
    _all_accepted(scene)


def feed_garbage(scene: Scene) -> None:
    """What nobody of ours sends: bytes, a pickle, an unknown task, a huge message."""
    unknown = _message("worker.tasks.no_such_task")
    huge = _message("worker.tasks.screen_submission_task", "0" * HUGE_MESSAGE_BYTES)
    for garbage in (b"\xff\x00 not json", PICKLE, b"[]", b'{"body": 1}', unknown, huge):
        for queue, name in ((INFERENCE_QUEUE, "worker"), (KEYS_QUEUE, "keeper")):
            _feed(scene, queue, garbage, name)
    _all_accepted(scene)


def _feed(scene: Scene, queue: str, garbage: bytes, name: str) -> None:
    """Push one message; the program takes it, lives or is started again, and waits for more."""
    with scene.broker() as broker:
        broker.lpush(queue, garbage)
        scene.until(
            lambda: broker.lpos(queue, garbage) is None,
            TAKEN_SECONDS,
            what=f"the {name} did not take its message",
        )
    scene.pause(0.5)
    process = scene.program(name).process
    if process is not None and process.poll() is not None:
        old = parent(scene.program(name))
        scene.until(
            lambda: parent(scene.program(name)) != old,
            5.0,
            what=f"the {name} was not started again",
        )


def _message(task: str, *ids: str) -> bytes:
    """A message as Celery's protocol 2 has it over Redis."""
    body = json.dumps(
        [ids, {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    )
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": task, "id": "chaos", "root_id": "chaos"},
            "properties": {
                "correlation_id": "chaos",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "inference"},
                "priority": 0,
                "delivery_tag": "chaos",
            },
        }
    ).encode()


def _answers(scene: Scene) -> bool:
    process = scene.program("broker").process
    return process is not None and process.poll() is None


def _all_accepted(scene: Scene) -> None:
    refused = [one.status for one in scene.sendings if one.status != httpx.codes.ACCEPTED]
    scene.must(not refused, f"Uploads were answered {refused} in place of 202.")


FAULTS = (
    Fault(
        4,
        "broker killed, nothing kept",
        "every upload gets its 202; the queue drains afterwards",
        kill_broker_without_memory,
    ),
    Fault(5, "broker frozen", "uploads go on; the relay waits", freeze_broker),
    Fault(6, "broker full", "uploads go on; the relay waits, no program crashes", fill_broker),
    Fault(7, "broker emptied", "every upload gets its 202; hints are sent again", flush_broker),
    Fault(
        8,
        "garbage in the queues",
        "programs that it stops are started again within 5 s",
        feed_garbage,
    ),
)
