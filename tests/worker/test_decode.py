import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from clinic.photo import PhotoLimits, PhotoRejected, clean_photo
from clinic.photo_reject import RejectReason
from worker import decode
from worker.decode import DeathReason, DecodeLimits, DecoderDied, decode_photo

LIMITS = DecodeLimits()


def encoded(width: int, height: int, kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (224, 172, 150)).save(out, format=kind)
    return out.getvalue()


def death_of(data: bytes, *, limits: DecodeLimits = LIMITS) -> DecoderDied:
    with pytest.raises(DecoderDied) as caught:
        decode_photo(data, limits=limits)
    return caught.value


@pytest.fixture
def other_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put another program in the child's place."""

    def install(program: str) -> None:
        package = tmp_path / "worker"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "decode_child.py").write_text(program)
        monkeypatch.setattr(decode, "ROOT", tmp_path)

    return install


def test_the_child_gives_the_same_rendition_as_the_pure_rule() -> None:
    data = encoded(640, 480)
    assert decode_photo(data, limits=LIMITS) == clean_photo(data, limits=LIMITS.photo)


def test_a_rejection_comes_back_with_its_reason() -> None:
    for data, reason in (
        (b"words", RejectReason.NOT_A_PHOTO),
        (encoded(640, 480)[:2000], RejectReason.DAMAGED),
        (encoded(10, 10), RejectReason.TOO_SMALL),
    ):
        with pytest.raises(PhotoRejected) as caught:
            decode_photo(data, limits=LIMITS)
        assert caught.value.reason is reason


def test_the_photo_limits_reach_the_child() -> None:
    limits = replace(LIMITS, photo=PhotoLimits(max_side=300))
    assert decode_photo(encoded(640, 480), limits=limits).width == 300


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_largest_photo_allowed_fits_into_the_memory_allowed(kind: str) -> None:
    assert decode_photo(encoded(5_770, 4_330, kind), limits=LIMITS).width == 4096


def test_a_photo_that_needs_more_memory_than_allowed_ends_only_the_child() -> None:
    limits = replace(LIMITS, memory_bytes=250 * 1024 * 1024)
    died = death_of(encoded(5_770, 4_330, "PNG"), limits=limits)
    assert died.reason is DeathReason.OUT_OF_MEMORY


def test_a_pixel_bomb_is_rejected_within_little_memory() -> None:
    out = io.BytesIO()
    Image.new("1", (13_000, 13_000)).save(out, format="PNG")
    limits = replace(LIMITS, memory_bytes=250 * 1024 * 1024)
    with pytest.raises(PhotoRejected) as caught:
        decode_photo(out.getvalue(), limits=limits)
    assert caught.value.reason is RejectReason.TOO_MANY_PIXELS


def test_a_child_that_takes_too_long_is_killed(other_child) -> None:
    other_child("import time; time.sleep(60)")
    died = death_of(encoded(300, 300), limits=replace(LIMITS, wall_seconds=0.5))
    assert died.reason is DeathReason.TOO_SLOW


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
        ("raise RuntimeError('a secret of the photo')", DeathReason.CRASHED),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "out_of_processor_time"),
        ("", DeathReason.GARBLED_ANSWER),
        ("print('hello')", DeathReason.GARBLED_ANSWER),
        ("print('\\0\\0\\0\\2{}', end='')", DeathReason.GARBLED_ANSWER),
        ("print('\\0\\0\\0\\2[]', end='')", DeathReason.GARBLED_ANSWER),
        ("print('\\0\\0\\0\\x14{\"rejected\":\"whim\"}', end='')", DeathReason.GARBLED_ANSWER),
        ("print('\\0\\0\\0\\x16{\"width\":1,\"height\":[]}', end='')", DeathReason.GARBLED_ANSWER),
    ],
)
def test_a_child_that_gives_no_proper_answer_has_died(other_child, program, reason) -> None:
    other_child(program)
    died = death_of(encoded(300, 300))
    assert died.reason == reason
    assert "secret" not in str(died)


def test_the_child_inherits_no_environment(other_child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "canary")
    other_child("import os, sys\nsys.exit(7 if 'SECRET_KEY' in os.environ else 0)")
    assert death_of(encoded(300, 300)).reason is DeathReason.GARBLED_ANSWER
    assert os.environ["SECRET_KEY"] == "canary"


def test_the_child_loads_neither_torch_nor_the_house_around_it() -> None:
    program = (
        "import json, sys, worker.decode_child as child\n"
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
