"""The hardening rules of docker-compose.yml, as a pure check over the parsed file."""

import re
from collections.abc import Iterator
from typing import Any

USER = "10001:10001"
ONE_SHOT = frozenset({"migrate", "admin", "export", "backup", "restore"})
PUBLISHES = frozenset({"proxy"})
REACHES_OUT = {"mailer": "mail"}  # the one network with a way out, of this service alone
WITH_MASTER_KEY = frozenset({"keeper"})

_PINNED = re.compile(r"[\w./-]+:\d+\.\d+(\.\d+)?(-[\w.]+)?\Z")
_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY\Z|_KEY_|DATABASE_URL|BROKER_URL")

Compose = dict[str, Any]


def problems(compose: Compose) -> list[str]:
    """Every broken rule in words; an empty list for a hardened file."""
    return [
        f"{name}: {problem}"
        for name, service in compose["services"].items()
        for problem in _service_problems(name, service, compose)
    ] + list(_overall_problems(compose))


def _service_problems(name: str, service: Compose, compose: Compose) -> Iterator[str]:
    yield from _container_problems(service)
    yield from _limit_problems(service)
    yield from _network_problems(name, service, compose)
    yield from _secret_problems(name, service, compose)
    yield from _health_problems(name, service, compose)


def _container_problems(service: Compose) -> Iterator[str]:
    if service.get("user") != USER:
        yield f"does not run as {USER}"
    if service.get("read_only") is not True:
        yield "its root can be written"
    if not any(one.startswith("/tmp:") for one in service.get("tmpfs", [])):
        yield "has no tmpfs for temporary files"
    yield from _privilege_problems(service)
    if not _PINNED.match(str(service.get("image", ""))):
        yield "its image has no exact version"


def _privilege_problems(service: Compose) -> Iterator[str]:
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        yield "keeps capabilities"
    if service.get("security_opt") != ["no-new-privileges:true"]:
        yield "may gain privileges"
    if service.get("privileged") or service.get("pid") or service.get("network_mode"):
        yield "shares the host's namespaces"
    if any("docker.sock" in str(one) for one in service.get("volumes", [])):
        yield "reaches the container engine"


def _limit_problems(service: Compose) -> Iterator[str]:
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    for wanted in ("cpus", "memory", "pids"):
        if wanted not in limits:
            yield f"has no limit of {wanted}"


def _network_problems(name: str, service: Compose, compose: Compose) -> Iterator[str]:
    if service.get("ports") and name not in PUBLISHES:
        yield "publishes a port"
    networks = service.get("networks")
    if not networks:
        yield "names no network"
    for one in networks or []:
        internal = (compose["networks"].get(one) or {}).get("internal") is True
        if not internal and name not in PUBLISHES and REACHES_OUT.get(name) != one:
            yield f"is in {one}, which is not internal"


def _secret_problems(name: str, service: Compose, compose: Compose) -> Iterator[str]:
    given = service.get("secrets", [])
    for one in given:
        if "file" not in compose["secrets"].get(one, {}):
            yield f"its secret {one} is not a file"
    if "master_key" in given and name not in WITH_MASTER_KEY:
        yield "has the master key"
    for setting, value in service.get("environment", {}).items():
        if setting.endswith("_FILE"):
            if str(value).removeprefix("/run/secrets/") not in given:
                yield f"{setting} names a secret that the service is not given"
        elif _SECRET_NAME.search(setting):
            yield f"{setting} stands in the file, not in a secret"


def _health_problems(name: str, service: Compose, compose: Compose) -> Iterator[str]:
    if name in ONE_SHOT:
        if service.get("restart") != "no":
            yield "ends by itself and would be started again"
    elif not service.get("healthcheck", {}).get("test"):
        yield "has no health check"
    for other, wanted in (service.get("depends_on") or {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        if other not in compose["services"] or wanted.get("condition") != expected:
            yield f"does not wait until {other} is ready"


def _overall_problems(compose: Compose) -> Iterator[str]:
    files = " ".join(str(one.get("file")) for one in compose["secrets"].values())
    if "root.key" in files:
        yield "the root's private key is mounted; it belongs offline"
    used = {one for service in compose["services"].values() for one in service.get("secrets", [])}
    for unused in sorted(set(compose["secrets"]) - used):
        yield f"the secret {unused} is used by nobody"
    database, broker = compose["services"]["db"], compose["services"]["broker"]
    if set(database["networks"]) & set(broker["networks"]):
        yield "database and broker share a network"
    proxy = compose["services"]["proxy"]
    if set(proxy["networks"]) & (set(database["networks"]) | set(broker["networks"])):
        yield "the proxy reaches the database or the broker"
