import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from clinic.photo import PhotoLimits, PhotoRejected, Rendition, clean_photo
from clinic.photo_reject import RejectReason
from tests.threads import at_once
from worker import decode
from worker.decode import DeathReason, DecodeLimits, DecoderDied, DecoderPool

LIMITS = DecodeLimits()


def encoded(width: int, height: int, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (224, 172, 150)).save(out, format=kind)
    return out.getvalue()


SMALL = encoded(300, 300)
LITTLE = 250 * 1024 * 1024


@contextmanager
def pool_of(size: int = 1, **limits: object) -> Iterator[DecoderPool]:
    pool = DecoderPool(size, limits=replace(LIMITS, **limits))
    try:
        yield pool
    finally:
        pool.close()


def decode_photo(data: bytes, **limits: object) -> Rendition:
    with pool_of(**limits) as pool:
        return pool.decode(data)


def death_of(data: bytes, **limits: object) -> DecoderDied:
    with pytest.raises(DecoderDied) as caught:
        decode_photo(data, **limits)
    return caught.value


@pytest.fixture
def other_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put another program in the child's place; `say(text)` answers."""

    def install(program: str) -> None:
        package = tmp_path / "worker"
        package.mkdir()
        (package / "__init__.py").touch()
        shutil.copy(decode.ROOT / "worker" / "decode_server.py", package)
        head = "def serve(connection, settings):\n"
        head += "  say = lambda text: connection.sendall(text.encode())\n"
        body = "".join(f"  {line}\n" for line in program.splitlines())
        (package / "decode_child.py").write_text(f"{head}{body}  return 0\n")
        monkeypatch.setattr(decode, "ROOT", tmp_path)

    return install


def test_the_child_gives_the_same_rendition_as_the_pure_rule() -> None:
    data = encoded(640, 480)
    assert decode_photo(data) == clean_photo(data, limits=LIMITS.photo)


def test_a_rejection_comes_back_with_its_reason() -> None:
    for data, reason in (
        (b"words", RejectReason.NOT_A_PHOTO),
        (encoded(640, 480)[:2000], RejectReason.DAMAGED),
        (encoded(10, 10), RejectReason.TOO_SMALL),
    ):
        with pytest.raises(PhotoRejected) as caught:
            decode_photo(data)
        assert caught.value.reason is reason


def test_the_photo_limits_reach_the_child() -> None:
    assert decode_photo(encoded(640, 480), photo=PhotoLimits(max_side=300)).width == 300


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_largest_photo_allowed_fits_into_the_memory_allowed(kind: str) -> None:
    assert decode_photo(encoded(5_770, 4_330, kind)).width == 4096


def test_a_photo_that_needs_more_memory_than_allowed_ends_only_the_child() -> None:
    with pool_of(memory_bytes=LITTLE) as pool:
        with pytest.raises(DecoderDied) as caught:
            pool.decode(encoded(5_770, 4_330, "PNG"))
        assert pool.decode(SMALL).width == 300
    assert caught.value.reason is DeathReason.OUT_OF_MEMORY


def test_a_pixel_bomb_is_rejected_within_little_memory() -> None:
    out = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(out, format="PNG")
    with pytest.raises(PhotoRejected) as caught:
        decode_photo(out.getvalue(), memory_bytes=LITTLE)
    assert caught.value.reason is RejectReason.TOO_MANY_PIXELS


def test_a_child_that_takes_too_long_is_killed(other_child) -> None:
    other_child("import time; time.sleep(60)")
    assert death_of(SMALL, wall_seconds=0.5).reason is DeathReason.TOO_SLOW


def test_a_child_that_stops_answering_is_killed_with_its_parent(other_child) -> None:
    other_child("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    with pool_of(wall_seconds=0.5) as pool:
        for _ in range(2):
            with pytest.raises(DecoderDied, match="too_slow"):
                pool.decode(SMALL)


def test_a_child_that_answers_and_lives_on_is_killed(other_child) -> None:
    other_child("import time; say('x'); connection.close(); time.sleep(60)")
    assert death_of(SMALL, wall_seconds=0.5).reason is DeathReason.TOO_SLOW


def server_of(pool: DecoderPool) -> "subprocess.Popen[bytes]":
    decoder = pool._idle.get()
    pool._idle.put(decoder)
    assert decoder._process is not None
    return decoder._process


def test_each_photo_gets_a_child_of_its_own_under_one_parent(other_child) -> None:
    other_child("import os; say(str(os.getpid()))")
    answers = set()
    with pool_of() as pool:
        for _ in range(3):
            decoder = pool._idle.get()
            answers.add(decoder.run(SMALL)[1])
            pool._idle.put(decoder)
            servers = {server_of(pool).pid}
    assert len(answers) == 3
    assert len(servers) == 1


def test_a_dead_parent_of_the_children_is_started_again() -> None:
    with pool_of() as pool:
        pool.decode(SMALL)
        before = server_of(pool)
        before.kill()
        before.wait()
        assert pool.decode(SMALL).width == 300
        assert server_of(pool).pid != before.pid


def test_photos_are_decoded_at_the_same_time(other_child) -> None:
    """Each child waits for the other's mark: one after the other, both would be too slow."""
    other_child(
        "import pathlib, time\n"
        "folder = pathlib.Path(__file__).parent\n"
        "mine, other = connection.recv(99).decode().split()\n"
        "(folder / mine).mkdir()\n"
        "while not (folder / other).exists(): time.sleep(0.01)\n"
        "say('both')"
    )
    with pool_of(2, wall_seconds=20.0) as pool:
        decoders = [pool._idle.get(), pool._idle.get()]
        runs = [partial(decoders[0].run, b"a b"), partial(decoders[1].run, b"b a")]
        assert at_once(*runs) == [(0, b"both")] * 2
        for one in decoders:
            pool._idle.put(one)


def test_nothing_runs_after_the_pool_is_closed() -> None:
    with pool_of() as pool:
        pool.decode(SMALL)
        server = server_of(pool)
    assert server.poll() is not None


def test_the_parent_of_the_children_ends_with_its_own() -> None:
    program = (
        "from worker.decode import *\n"
        "pool = DecoderPool(1, limits=DecodeLimits())\n"
        f"pool.decode({SMALL!r})\n"
        "print(pool._idle.get()._process.pid, flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env={"PYTHONPATH": str(decode.ROOT)},
        stdout=subprocess.PIPE,
        check=False,
    )
    status = Path(f"/proc/{int(done.stdout)}/stat")
    give_up_at = time.monotonic() + 10
    while status.exists() and " Z " not in status.read_text(encoding="utf-8"):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def run_limited(program: str) -> subprocess.CompletedProcess[str]:
    limit = "from worker.decode_child import limit_myself as l; "
    limit += "l(memory_bytes=250 << 20, cpu_seconds=1)\n"
    return subprocess.run(
        [sys.executable, "-B", "-c", limit + program],
        env={"PYTHONPATH": str(decode.ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def test_the_limits_stop_a_child_that_spins_hoards_or_writes(tmp_path: Path) -> None:
    assert run_limited("while True: pass").returncode == -signal.SIGXCPU
    assert "MemoryError" in run_limited("x = bytearray(300 << 20)").stderr
    leak = tmp_path / "leak"
    write = f"import pathlib; pathlib.Path({str(leak)!r}).write_text('photo')"
    assert "File too large" in run_limited(write).stderr
    assert leak.read_bytes() == b""
    assert run_limited("print('within limits')").stdout == "within limits\n"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", DeathReason.CRASHED),
        ("import os; os._exit(9)", DeathReason.CRASHED),
        ("raise RuntimeError('a secret of the photo')", DeathReason.CRASHED),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "out_of_processor_time"),
        ("import os, signal; os.kill(os.getppid(), signal.SIGKILL)", DeathReason.CRASHED),
        ("return 3", DeathReason.OUT_OF_MEMORY),
        ("", DeathReason.GARBLED_ANSWER),
        ("say('hello')", DeathReason.GARBLED_ANSWER),
        ("say('\\0\\0\\0\\2{}')", DeathReason.GARBLED_ANSWER),
        ("say('\\0\\0\\0\\2[]')", DeathReason.GARBLED_ANSWER),
        ('say(\'\\0\\0\\0\\x14{"rejected":"whim"}\')', DeathReason.GARBLED_ANSWER),
        ('say(\'\\0\\0\\0\\x16{"width":1,"height":[]}\')', DeathReason.GARBLED_ANSWER),
    ],
)
def test_a_child_that_gives_no_proper_answer_has_died(other_child, program, reason) -> None:
    other_child(program)
    died = death_of(SMALL)
    assert died.reason == reason
    assert "secret" not in str(died)


def test_the_child_inherits_no_environment(other_child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "canary")
    other_child("import os; os._exit(7 if 'SECRET_KEY' in os.environ else 0)")
    assert death_of(SMALL).reason is DeathReason.GARBLED_ANSWER
    assert os.environ["SECRET_KEY"] == "canary"


def test_the_child_holds_no_socket_but_its_own(other_child) -> None:
    """Through its parent's socket it could answer for the photos that come after."""
    other_child(
        "import os\n"
        "links = [os.readlink(f'/proc/self/fd/{one}') for one in os.listdir('/proc/self/fd')\n"
        "         if os.path.exists(f'/proc/self/fd/{one}')]\n"
        "os._exit(10 + len({one for one in links if one.startswith('socket')}))"
    )
    assert "exit 11" in str(death_of(SMALL))


def test_the_child_loads_neither_torch_nor_the_house_around_it() -> None:
    program = (
        "import json, sys, worker.decode_server, worker.decode_child as child\n"
        f"child.answer({encoded(300, 300)!r}, limits={{}})\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        env={"PYTHONPATH": str(decode.ROOT)},
        capture_output=True,
        check=True,
    )
    loaded = set(json.loads(done.stdout))
    assert "PIL" in loaded
    assert not loaded & {"torch", "celery", "sqlalchemy", "flask", "cryptography"}
