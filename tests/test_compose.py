"""docker-compose.yml: hardened, true to the settings, and its commands run for real."""

import copy
import json
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
import redis
import yaml
from flask import Flask
from redis.exceptions import NoPermissionError
from sqlalchemy import func, select

from clinic.hints import (
    PURGE_EXPIRED,
    SCREEN_SUBMISSION,
    SETTLE_PATIENT,
    BrokerDownError,
    CeleryHints,
)
from clinic.key_files import ROOT_PRIVATE_FILE
from clinic.records import ehr_clients
from clinic.records.db import every_clinic_sessions, make_engine
from clinic.records.models import SealedObject
from config import SETTINGS
from ml.training_manifest import MANIFEST_FILE, read_training_manifest
from tests.compose_rules import problems
from tests.production_by_hand import (
    BACKUP_IDENTITY,
    COMPOSE,
    PUBLIC_HOST,
    ROOT,
    WITHOUT_WORKER_PACKAGES,
    WORKER_PACKAGES,
    Production,
    Started,
    in_base64,
    until,
)
from tests.world import PASSWORD, TOTP_SECRET, World, build
from tools.portal_client import wait_for_fresh_code
from tools.ports import free_port
from tools.postgres import PostgresServer
from worker.__main__ import CANNOT_START, PROGRAMS

SERVICES: dict[str, Any] = COMPOSE["services"]
# Which program's settings each service gets.
PROGRAM_OF = {
    "web": "web",
    "worker": "worker",
    "keeper": "keeper",
    "relay": "relay",
    "reconciler": "reconciler",
    "beat": "beat",
    "metrics": "metrics",
    "mailer": "mailer",
    "migrate": "migrate",
    "admin": "admin",
    "export": "export",
    "backup": "backup",
    "restore": "backup",
}
# The portal shows the model's manifest where there is one; it does not need it.
# With the mail's sender it offers what needs mail.
MAY_ALSO_HAVE = {
    # It makes the role of the programs where they have one.
    "migrate": {"DERMQUEUE_PROGRAMS_URL"},
    "web": {"DERMQUEUE_WEIGHTS_DIR", "DERMQUEUE_MAIL_FROM"},
    # Emergency copies are made where a clinic has set them up.
    "keeper": {"DERMQUEUE_ESCROW_RECIPIENTS"},
    "admin": {"DERMQUEUE_ESCROW_RECIPIENTS"},
}
STAY_UP = ("keeper", "relay", "reconciler", "beat", "metrics", "web")
# Past every logger, to the terminal, when a worker ends.
SAID_BY_CELERY = re.compile(r"|worker: \w+ shutdown \(MainProcess\)")
WEIGHTS = ROOT / "ml" / "weights" / "LIVE"


# --- The file --------------------------------------------------------------------------------


def test_every_service_is_hardened():
    assert problems(COMPOSE) == []


PLANTED = {
    "does not run as": lambda c: c["services"]["web"].update(user="0"),
    "root can be written": lambda c: c["services"]["keeper"].update(read_only=False),
    "no tmpfs": lambda c: c["services"]["relay"].pop("tmpfs"),
    "keeps capabilities": lambda c: c["services"]["db"].update(cap_add=["SYS_ADMIN"]),
    "may gain privileges": lambda c: c["services"]["proxy"].pop("security_opt"),
    "no exact version": lambda c: c["services"]["db"].update(image="postgres:latest"),
    "publishes a port": lambda c: c["services"]["db"].update(ports=["5432:5432"]),
    "not internal": lambda c: c["services"]["worker"]["networks"].append("outside"),
    "no limit of memory": lambda c: c["services"]["beat"]["deploy"]["resources"]["limits"].pop(
        "memory"
    ),
    "no health check": lambda c: c["services"]["broker"].pop("healthcheck"),
    "does not wait until db": lambda c: c["services"]["keeper"]["depends_on"]["db"].update(
        condition="service_started"
    ),
    "has the master key": lambda c: c["services"]["web"]["secrets"].append("master_key"),
    "stands in the file": lambda c: c["services"]["db"]["environment"].update(
        POSTGRES_PASSWORD="x"
    ),
    "belongs offline": lambda c: c["secrets"]["master_key"].update(file="./secrets/root.key"),
    "used by nobody": lambda c: c["secrets"].update(other={"file": "./secrets/other"}),
    "is not given": lambda c: c["services"]["relay"]["secrets"].remove("database_url"),
}


@pytest.mark.parametrize("words", PLANTED)
def test_a_planted_weakness_is_found(words: str):
    weakened = copy.deepcopy(COMPOSE)
    PLANTED[words](weakened)
    assert any(words in one for one in problems(weakened))


@pytest.mark.parametrize("name", PROGRAM_OF)
def test_each_service_has_exactly_the_settings_of_its_program(name: str):
    program = PROGRAM_OF[name]
    given = {one.removesuffix("_FILE") for one in SERVICES[name]["environment"]}
    if "DERMQUEUE_MASTER_KEY_FILE" in SERVICES[name]["environment"]:
        given = given - {"DERMQUEUE_MASTER_KEY"} | {"DERMQUEUE_MASTER_KEY_FILE"}
    needed = {one.name for one in SETTINGS if program in one.needed_by}
    assert given - MAY_ALSO_HAVE.get(name, set()) == needed


@pytest.mark.parametrize("name", PROGRAM_OF)
def test_each_service_has_no_secret_that_no_setting_names(name: str):
    named = {str(value) for value in SERVICES[name]["environment"].values()}
    assert {f"/run/secrets/{one}" for one in SERVICES[name]["secrets"]} <= named


def test_every_service_of_ours_is_checked():
    assert set(SERVICES) - set(PROGRAM_OF) == {"db", "broker", "proxy"}


@pytest.mark.parametrize("name", [*PROGRAMS.values()])
def test_the_command_names_a_program_that_exists(name: str):
    python, flag, module, program = SERVICES[name]["command"]
    assert (python, flag, module) == ("python", "-m", "worker")
    assert PROGRAMS[program] == PROGRAM_OF[name]
    assert SERVICES[name]["healthcheck"]["test"][-1] == PROGRAM_OF[name]


def test_only_the_worker_carries_torch():
    heavy = {name for name in PROGRAM_OF if SERVICES[name]["build"]["target"] != "web"}
    assert heavy == {"worker"}


def test_the_portals_image_needs_no_package_of_the_worker():
    modules = "web.app, worker.keeper_tasks, worker.programs.health, worker.programs.metrics"
    modules += ", tools.secrets_folder"
    done = subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_WORKER_PACKAGES}\nimport {modules}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_packages_of_the_worker_are_all_refused_to_the_others():
    names = {"pillow": "PIL", "grad-cam": "pytorch_grad_cam", "scikit-learn": "sklearn"}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    added = [line.partition("==")[0] for line in lines if "==" in line]
    assert {names.get(one, one) for one in added} == set(WORKER_PACKAGES)


# --- The images ------------------------------------------------------------------------------


DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_each_base_image_has_an_exact_version():
    stages = set(re.findall(r"^FROM .* AS (\S+)$", DOCKERFILE, re.MULTILINE))
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) - stages
    assert bases
    assert all(re.search(r":\d+\.\d+\.\d+-", one) for one in bases)


def test_each_target_that_is_built_exists_and_is_not_root():
    wanted = {one["build"]["target"] for one in SERVICES.values() if "build" in one}
    for target in wanted:
        stage = re.search(
            rf"^FROM \S+ AS {target}$(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL
        )
        assert stage is not None
        assert "USER 10001:10001" in stage[1]


def test_everything_that_is_copied_exists_and_reaches_the_builder():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert len(copied) > 8
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == one or source.startswith(f"{one}/") for one in sent), source


def test_the_proxy_writes_no_body_to_a_disk():
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text(encoding="utf-8")
    for wanted in (
        "proxy_request_buffering off;",
        "proxy_buffering off;",
        "proxy_max_temp_file_size 0;",
    ):
        assert wanted in conf
    assert "$request " not in conf  # it would log the query
    largest = re.search(r"client_max_body_size (\d+)m", conf)
    limit = next(one for one in SETTINGS if one.field == "upload_limit_mib")
    assert largest is not None
    assert int(largest[1]) >= int(limit.default or 0)


def test_the_proxys_log_has_no_secret_of_a_link(app: Flask) -> None:
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text(encoding="utf-8")
    hidden = re.search(r'"~(\^\(\?<door>.*)" "\$\{door\}-";', conf)
    assert hidden is not None
    assert '"$request_method $told"' in conf
    ending = "<token>"
    links = {rule.rule for rule in app.url_map.iter_rules() if ending in rule.rule}
    assert len(links) > 4
    for link in links:
        found = re.match(hidden[1].replace("?<", "?P<"), link)
        assert found is not None, link
        assert found["door"] == link.removesuffix(ending)


def test_the_proxy_keeps_what_is_internal_inside_and_names_each_request():
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text(encoding="utf-8")
    closed = re.search(r"location ~ \^/\((.*)\)\$ \{\s+return 404;", conf)
    assert closed is not None
    assert set(closed[1].split("|")) == {"readyz", "metrics", "invariants"}
    assert "9101" not in conf
    assert "proxy_set_header X-Request-ID $request_id;" in conf


def test_the_proxy_speaks_tls_1_2_and_newer_alone_and_sends_plain_http_there():
    conf = (ROOT / "deploy/nginx/nginx.conf").read_text(encoding="utf-8")
    assert re.findall(r"ssl_protocols ([^;]+);", conf) == ["TLSv1.2 TLSv1.3"]
    assert "listen 8443 ssl default_server;" in conf
    assert "return 308 https://$host$request_uri;" in conf
    published = {one.rpartition(":")[2] for one in SERVICES["proxy"]["ports"]}
    assert published == {"8443", "8080"}
    plain = [one for one in re.findall(r"listen ([^;]+);", conf) if "ssl" not in one]
    assert plain == ["127.0.0.1:8081", "8080 default_server"]


def test_env_example_explains_every_setting_and_who_needs_it():
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    for one in SETTINGS:
        found = re.search(
            rf"# Needed by: ([\w, ]+)\.\n#?{one.name.removesuffix('_FILE')}(?:_FILE)?=", text
        )
        assert found is not None, one.name
        assert found[1] == (", ".join(sorted(one.needed_by)) or "nobody"), one.name


def test_with_an_object_store_whoever_had_the_folder_has_the_bucket():
    override = yaml.safe_load((ROOT / "deploy/object-store.yml").read_text(encoding="utf-8"))
    had = {name for name, one in SERVICES.items() if "DERMQUEUE_BLOB_DIR" in str(one)}
    bucket = {one.name for one in SETTINGS if one.field.startswith("blob_")}

    assert override["services"].keys() == had
    for service in override["services"].values():
        assert {one.removesuffix("_FILE") for one in service["environment"]} == bucket
        assert not service["environment"]["DERMQUEUE_BLOB_DIR"], "an empty value counts as missing"
        assert service["secrets"] == list(override["secrets"])
        assert service["networks"] == list(override["networks"])


# --- The same commands by hand ---------------------------------------------------------------


@pytest.fixture(scope="module")
def production(postgres: PostgresServer) -> Iterator[Production]:
    """Database, broker with the real access list, tables made by the migrate service."""
    with tempfile.TemporaryDirectory(prefix="dermqueue-production-") as folder:
        found = Production(
            Path(folder),
            postgres.fresh_database().replace("dermqueue@", "dermqueue:unused@"),
            free_port(),
            free_port(),
            {"9100": free_port(), "9101": free_port()},
            {
                "master.key": b"m" * 32,
                "audit.key": in_base64(b"a" * 32),
                "account.key": in_base64(b"s" * 32),
                "enrolment.key": in_base64(b"e" * 32),
            },
        )
        found.prepare()
        found.names_before = set(ROOT.iterdir())
        found.start_broker()
        migrated = found.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        yield found
        found.stop_all()


@pytest.fixture(scope="module")
def clinic_world(production: Production) -> Iterator[World]:
    """The cast in the production database; Bob has signed one case, Carol's waits."""
    engine = make_engine(production.database_url)
    world = build(every_clinic_sessions(engine), production.folder)
    root = production.secrets / "root.pub"
    root.unlink()
    root.write_bytes(in_base64(world.root_public_key))
    world.signed(world.alice, world.bob)
    world.submit(world.carol)
    yield world
    engine.dispose()


@pytest.fixture(scope="module")
def running(production: Production, clinic_world: World) -> dict[str, Started]:  # noqa: ARG001 - its keys first
    for name in STAY_UP:
        production.start(name)
    ready = f"{production.web_url}/readyz"
    until(lambda: _status(ready) == 200, "the portal is ready", seconds=60)
    return production.started


def _status(url: str, *, data: bytes | None = None, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers, data=data)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


@pytest.mark.postgres
@pytest.mark.broker
class TestByHand:
    def test_migrating_again_changes_nothing(self, production: Production):
        assert production.run("migrate").returncode == 0

    def test_the_keeper_moves_objects_when_the_relay_says_so(
        self, running: dict[str, Started], clinic_world: World
    ):
        waits = select(func.count()).where(
            SealedObject.settled.is_(False), SealedObject.submission_id.is_(None)
        )

        def all_moved() -> bool:
            with clinic_world.sessions() as session:
                return session.scalar(waits) == 0

        until(all_moved, f"identities moved: {running['keeper'].words()}")

    def test_the_relay_hints_the_case_that_waits_for_a_worker(
        self, running: dict[str, Started], production: Production
    ):
        with production.broker("worker") as broker:
            until(lambda: broker.llen("inference") > 0, running["relay"].words())

    def test_the_portal_reads_a_signed_report_with_keys_from_the_keeper(
        self, running: dict[str, Started], production: Production, clinic_world: World
    ):
        with clinic_world.sessions() as session, session.begin():
            token = ehr_clients.register(
                session, clinic_id=clinic_world.clinic_id, name="Hospital"
            ).token
        url = f"{production.web_url}/fhir/R4/Patient/{clinic_world.alice.patient_id}"
        headers = {"Authorization": f"Bearer {token}", "Host": PUBLIC_HOST}
        assert _status(url, **headers) == 200, running["web"].words()

    @pytest.mark.usefixtures("running")
    def test_metrics_are_told_on_the_internal_ports_alone(self, production: Production):
        ports = production.internal_ports
        state = _text(f"http://127.0.0.1:{ports['9100']}/metrics")
        assert "dermqueue_database_up 1.0" in state
        assert 'dermqueue_cases{state="queued",urgency="unsorted"} 1.0' in state
        for _ in range(8):  # whichever of the two processes answers, both are counted
            _status(f"{production.web_url}/healthz")
        counted = _text(f"http://127.0.0.1:{ports['9101']}/metrics")
        healthy = re.search(r'route="health.healthz",status="200"} (\d+)', counted)
        assert healthy is not None
        assert int(healthy[1]) == 8
        assert _status(f"http://127.0.0.1:{ports['9101']}/invariants") == 200
        for path in ("metrics", "invariants"):
            assert _status(f"{production.web_url}/{path}", Host=PUBLIC_HOST) == 404

    @pytest.mark.parametrize("name", STAY_UP)
    def test_the_health_check_of_each_program_passes(
        self, running: dict[str, Started], production: Production, name: str
    ):
        assert production.check_health(name) == 0, running[name].words()

    @pytest.mark.usefixtures("running")
    def test_the_engineers_commands_need_no_secret_of_the_portal(self, production: Production):
        created = production.run(
            *("admin", "users", "invite-administrator", "--clinic", "clinic-1")
        )
        verified = production.run("admin", "audit", "verify")
        assert "https://derm.example/join/" in created.stdout, created.stderr
        assert "The audit chain holds." in verified.stdout, verified.stderr

    @pytest.mark.usefixtures("running")
    def test_a_backup_is_made_and_checked_while_everything_runs(self, production: Production):
        made = production.run("backup", "backup")
        verified = production.run("backup", "backup", "verify")
        assert made.returncode == 0, made.stderr
        assert re.search(r"Backup \S+: \d+ bodies", made.stdout)
        assert "is whole" in verified.stdout, verified.stderr

    @pytest.mark.usefixtures("running")
    def test_a_restore_refuses_an_installation_that_is_in_use(self, production: Production):
        identity = production.folder / "database.identity"
        identity.write_text(BACKUP_IDENTITY)
        restored = production.run(
            *("restore", "restore", "--identity", str(identity)),
            "--let-erased-patients-return",
        )
        assert restored.returncode == 1
        assert "This installation is not empty" in restored.stderr

    @pytest.mark.usefixtures("running")
    def test_a_training_set_is_exported_with_keys_from_the_keeper(
        self, production: Production, clinic_world: World, tmp_path: Path
    ):
        clinic_world.decide_on_research(clinic_world.alice, permitted=True)
        command = ("training-set", "export", "--out", str(tmp_path / "set"))
        command += ("--administrator", clinic_world.erin.email)
        wait_for_fresh_code(seconds=12)
        typed = f"{PASSWORD}\n{pyotp.TOTP(TOTP_SECRET).now()}\n"
        done = production.run("export", *command, typed=typed)
        assert "1 photos of 1 cases" in done.stdout, done.stderr
        (photo,) = read_training_manifest(tmp_path / "set" / MANIFEST_FILE)
        assert photo.dx == "nv"

    def test_tries_are_counted_in_the_broker_for_each_visitor_behind_the_proxy(
        self, running: dict[str, Started], production: Production
    ):
        own = {"Host": PUBLIC_HOST}
        page = urllib.request.Request(f"{production.web_url}/sign-in", headers=own)
        with urllib.request.urlopen(page, timeout=20) as form:
            cookie = form.headers["Set-Cookie"].partition(";")[0]
            token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', form.read().decode())
        assert token is not None
        sent = urllib.parse.urlencode({"csrf_token": token[1], "email": "x@y.example"}).encode()
        _status(
            f"{production.web_url}/sign-in",
            data=sent,
            **{"X-Forwarded-For": "198.51.100.1, 203.0.113.7", "X-Forwarded-Proto": "https"},
            **{**own, "Cookie": cookie},
        )
        with production.broker("web") as broker:
            counted = broker.exists("LIMITS:LIMITER/203.0.113.7/portal.sign_in/30/1/minute")
        assert counted == 1, running["web"].words()

    @pytest.mark.usefixtures("running")
    def test_an_epoch_key_is_made_by_command(self, production: Production):
        made = production.run(
            *("admin", "keys", "epoch", "--master-key", str(production.secrets / "master.key")),
            *("--root-key", str(production.secrets / ROOT_PRIVATE_FILE)),
        )
        assert "New epoch key" in made.stdout, made.stderr

    def test_the_broker_takes_nobody_without_a_password(self, production: Production):
        nobody = redis.Redis(port=production.broker_port)
        with nobody, pytest.raises(redis.AuthenticationError):
            nobody.ping()

    @pytest.mark.parametrize(
        ("user", "task"),
        [
            ("beat", SETTLE_PATIENT),
            ("web", SCREEN_SUBMISSION),
            ("export", SCREEN_SUBMISSION),
        ],
    )
    def test_a_program_cannot_send_what_is_not_its_to_send(
        self, production: Production, user: str, task: str
    ):
        hints = CeleryHints(production.broker_url(user))
        with pytest.raises(BrokerDownError, match="No permissions to access a key"):
            hints.send(task, "0" * 32)

    def test_the_clock_may_send_the_housekeeping(self, production: Production):
        CeleryHints(production.broker_url("beat")).send(PURGE_EXPIRED)

    @pytest.mark.parametrize("user", ["web", "relay", "beat", "keeper", "worker", "export"])
    def test_no_program_can_change_the_broker(self, production: Production, user: str):
        with production.broker(user) as broker:
            for forbidden in (broker.flushall, broker.config_get, broker.acl_list):
                with pytest.raises(NoPermissionError):
                    forbidden()

    @pytest.mark.usefixtures("running")
    def test_the_worker_starts_with_weights_and_says_why_not_without(self, production: Production):
        worker = production.start("worker")
        if WEIGHTS.is_file():
            until(lambda: "ready" in worker.words(), worker.words(), seconds=120)
            assert worker.stop() == 0
        else:
            assert worker.process.wait(timeout=60) == CANNOT_START
            assert "LIVE is missing" in worker.words()

    @pytest.mark.parametrize("name", STAY_UP)
    def test_each_program_is_still_up_and_ends_on_sigterm(
        self, running: dict[str, Started], name: str
    ):
        assert running[name].process.poll() is None, running[name].words()
        assert running[name].stop() == 0, running[name].words()

    def test_no_program_writes_beside_the_code(self, production: Production):
        assert set(ROOT.iterdir()) <= production.names_before | {ROOT / "__pycache__"}

    def test_every_line_that_a_program_logged_is_an_object(self, production: Production):
        for name in STAY_UP:
            lines = production.started[name].words().splitlines()
            ours = [line for line in lines if not SAID_BY_CELERY.fullmatch(line)]
            assert all("at" in json.loads(line) for line in ours), name
        assert '"route": "health.readyz"' in production.started["web"].words()

    def test_without_the_broker_the_health_check_fails(self, production: Production):
        production.started["broker"].stop()
        assert production.check_health("relay") == 1


def test_production_refuses_a_broker_without_a_password():
    settings = {
        "DERMQUEUE_ENVIRONMENT": "production",
        "DERMQUEUE_DATABASE_URL": "postgresql+psycopg://dermqueue@127.0.0.1:1/none",
        "DERMQUEUE_BROKER_URL": "redis://127.0.0.1:1/0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "worker", "relay"],
        env=settings,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == CANNOT_START
    assert "DERMQUEUE_BROKER_URL has no password" in done.stderr
