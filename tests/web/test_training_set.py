"""Cases to learn from, copied out: whose, through whom, and nothing else in the folder."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from PIL import Image
from sqlalchemy import delete, select

from clinic.access import Role
from clinic.audit_event import AuditAction
from clinic.keeper_protocol import ObjectKind
from clinic.notices import NoticeKind
from clinic.pathology import PathologySource, Specimen
from clinic.records import audit_log, first_reads, pathology, recovery_codes, review_queue
from clinic.records.first_reads import Impression
from clinic.records.keeper_client import KeeperClient
from clinic.records.models import (
    Account,
    AuditEntry,
    KeyRequest,
    LoginSession,
    Notice,
    Patient,
    SealedObject,
    SignedReport,
    Submission,
)
from clinic.records.pathology import NewResult
from ml.label_table import read_labels
from ml.training_manifest import (
    MANIFEST_FILE,
    PROVEN_FILE,
    TrainingCase,
    read_training_manifest,
)
from tests import world as cast
from tests.browser_session import BrowserSession
from tests.portal_tools import both_databases, code_at, entries, object_of, stored_bytes, words
from tests.world import BIRTH_DATE, PASSWORD, Person, World
from tools.lesion_drawing import draw_lesion
from web import training_export
from web.services import EXTENSION, ExportServices
from web.training_set import training_set_commands
from worker.screen_submission import screen

NOON = 1_800_000_000.0
Run = Callable[..., Result]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "exports"
    folder.mkdir()
    return folder / "2026-11"


@pytest.fixture
def run(world: World, out: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The export by a person of the cast; each time in a time step of its own."""
    clock = SimpleNamespace(now=NOON)
    monkeypatch.setattr("web.second_factor.time", SimpleNamespace(time=lambda: clock.now))
    # A keeper that is down is noticed sooner than in service.
    monkeypatch.setattr(training_export, "KeeperClient", _impatient)
    app = Flask("export")
    app.extensions[EXTENSION] = ExportServices(
        auditor=world.auditor,
        account_secrets=world.secrets,
        passwords=world.passwords,
        sessions=world.sessions,
        blobs=world.blobs,
        hints=world.hints,
        enrolment_key=world.enrolment_key,
    )
    app.cli.add_command(training_set_commands)

    def run(folder: Path = out, *, who: str = "erin", **typed: str) -> Result:
        clock.now += 30.0
        secrets = {"password": PASSWORD, "code": code_at(clock.now), **typed}
        command = ["training-set", "export", "--out", str(folder)]
        command += ["--administrator", f"{who}@example.org"]
        told = f"{secrets['password']}\n{secrets['code']}\n"
        return app.test_cli_runner().invoke(args=command, input=told)

    return run


def _impatient(*parts: Any) -> KeeperClient:
    return KeeperClient(*parts, patience_seconds=0.05)


def signed(
    world: World,
    patient: Person,
    *,
    photos: dict[str, bytes] | None = None,
    diagnosis: str = "nv",
) -> str:
    """A signed case with these photos."""
    case = world.submit(patient, photos=photos or {"close_up": jpeg(3)})
    screen(world.screening(), case)
    with world.sessions() as session, session.begin():
        reader = world.bob.account_id
        assert review_queue.claim(session, case, reader_id=reader)
        blind = Impression("nv", "medium")
        first_reads.record(session, case, reader_id=reader, blind=blind)
    world.sign(case, world.bob, diagnosis=diagnosis)
    return case


def jpeg(seed: int, **saved_with: Any) -> bytes:
    """A small drawn lesion: these tests look at no pixel."""
    out = io.BytesIO()
    draw_lesion(seed, (320, 240)).save(out, "JPEG", **saved_with)
    return out.getvalue()


def refused(result: Result, sentence: str) -> bool:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    return sentence in result.output


def nothing_left(out: Path) -> bool:
    """Neither the folder nor a half of it."""
    return list(out.parent.iterdir()) == []


def exported(out: Path) -> list[TrainingCase]:
    return read_training_manifest(out / MANIFEST_FILE)


@both_databases
def test_a_signed_case_is_exported_as_the_training_reads_it(
    world: World, run: Run, out: Path
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    case = signed(world, world.alice, diagnosis="mel")

    result = run()

    assert result.exit_code == 0, result.output
    assert f"1 photos of 1 cases are in {out}." in result.output
    (photo,) = exported(out)
    assert (photo.dx, photo.age, photo.sex, photo.localization) == ("mel", 50, "female", "back")
    data = (out / photo.file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == photo.sha256
    assert Image.open(io.BytesIO(data)).format == "JPEG"
    assert {path.name for path in out.iterdir()} == {MANIFEST_FILE, photo.file}
    assert list(out.parent.iterdir()) == [out]
    assert out.stat().st_mode & 0o077 == 0
    (entry,) = entries(world, AuditAction.CASE_EXPORTED)
    assert (entry.submission_id, entry.actor) == (case, world.erin.account_id)
    (finished,) = entries(world, AuditAction.TRAINING_SET_EXPORTED)
    digest = hashlib.sha256((out / MANIFEST_FILE).read_bytes()).hexdigest()
    assert finished.detail == f"1 photos, 0 cases left out, manifest {digest}"
    assert [one.clinic_id for one in entries(world, AuditAction.TRAINING_EXPORT_STARTED)] == [
        world.clinic_id
    ]
    with world.sessions() as session:
        assert audit_log.verify(session, world.auditor.key) is None


@both_databases
def test_without_consent_nothing_leaves(world: World, run: Run, out: Path) -> None:
    signed(world, world.alice)
    assert refused(run(), "There was no case to export; no folder was made.")
    assert nothing_left(out)
    with world.sessions() as session:
        purposes = session.scalars(select(KeyRequest.purpose)).all()
    assert "training" not in purposes


@both_databases
def test_withdrawn_consent_ends_it_for_old_cases_too(world: World, run: Run, out: Path) -> None:
    for patient in (world.alice, world.carol):
        world.decide_on_research(patient, permitted=True)
        signed(world, patient)
    assert run().exit_code == 0
    names = [photo.image_id for photo in exported(out)]
    assert len(names) == 2
    assert names == sorted(names)  # not in the order of time

    world.decide_on_research(world.alice, permitted=False)

    again = out.with_name("again")
    assert run(again).exit_code == 0
    assert len(exported(again)) == 1


def test_a_patient_gives_and_withdraws_it_on_the_account_page(
    world: World, run: Run, out: Path, signed_in: Callable[[str], BrowserSession]
) -> None:
    signed(world, world.alice)
    alice = signed_in("alice")
    choices = {"consent_ai": "y", "consent_research": "y"}
    alice.post("/account/consents", choices)
    assert run().exit_code == 0
    choices.pop("consent_research")
    alice.post("/account/consents", choices)
    assert refused(run(out.with_name("again")), "no case to export")
    assert len(entries(world, AuditAction.CONSENT_RECORDED)) == 2


def test_only_signed_cases_of_the_seven_classes_are_exported(
    world: World, run: Run, out: Path
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    world.submit(world.alice)
    world.screened(world.alice)
    world.first_read(world.alice, world.bob)
    signed(world, world.alice, diagnosis="other")
    assert refused(run(), "no case to export")
    signed(world, world.alice, diagnosis="df")
    assert run().exit_code == 0
    assert [photo.dx for photo in exported(out)] == ["df"]


def test_the_last_signed_version_counts(world: World, run: Run, out: Path) -> None:
    world.decide_on_research(world.alice, permitted=True)
    case = signed(world, world.alice)
    with world.sessions() as session, session.begin():
        first = session.scalars(select(SignedReport)).one()
        values = {one.name: getattr(first, one.name) for one in SignedReport.__table__.columns}
        amended = {"id": "0" * 32, "version": 2, "diagnosis": "bcc"}
        amended |= {"status": "corrected", "change_reason": "wrong_diagnosis"}
        session.add(SignedReport(**{**values, **amended}))
    assert run().exit_code == 0
    assert [photo.dx for photo in exported(out)] == ["bcc"]
    assert [one.submission_id for one in entries(world, AuditAction.CASE_EXPORTED)] == [case]


def test_pathology_goes_before_the_reader_and_its_labels_can_be_judged_by(
    world: World, run: Run, out: Path
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    proven, _ = signed(world, world.alice), signed(world, world.alice)
    with world.sessions() as session, session.begin():
        row = session.get_one(Submission, proven)
        excision, report = Specimen.EXCISION, PathologySource.LABORATORY_REPORT
        found = NewResult("mel", "C43.59", "8720/3", excision, report, date(2026, 11, 2), None)
        pathology.add(session, row, found, added_by=world.bob.account_id)

    assert run().exit_code == 0

    photos = exported(out)
    assert sorted((one.dx, one.dx_type) for one in photos) == [("mel", "histo"), ("nv", "reader")]
    (labelled,) = read_labels(out / PROVEN_FILE)
    (melanoma,) = (one for one in photos if one.dx == "mel")
    assert labelled.image_id == melanoma.image_id


def test_close_pictures_leave_and_the_one_from_further_away_stays(
    world: World, run: Run, out: Path
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    photos = {"overview": jpeg(4), "close_up": jpeg(5), "dermoscopic": jpeg(6)}
    case = signed(world, world.alice, photos=photos)

    assert run().exit_code == 0

    found = exported(out)
    assert len(found) == 2
    assert len({photo.lesion_id for photo in found}) == 1
    (overview,) = [
        world.secrets.pseudonym(row.id, clinic_id=world.clinic_id)
        for row in objects(world, case, ObjectKind.RENDITION)
        if row.view == "overview"
    ]
    assert overview not in {photo.image_id for photo in found}


def objects(world: World, case: str, kind: ObjectKind) -> list[SealedObject]:
    with world.sessions() as session:
        query = select(SealedObject).where(SealedObject.submission_id == case)
        return list(session.scalars(query.where(SealedObject.kind == kind)))


def test_a_clinic_exports_its_own_cases_only(world: World, run: Run, out: Path) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    world.add_person("gina", Role.ADMINISTRATOR, clinic_id=world.other_clinic_id)
    result = run(who="gina")
    assert refused(result, "no case to export")
    assert "Left out" not in result.output
    assert nothing_left(out)


def test_a_case_keeps_its_pseudonym_from_one_export_to_the_next(
    world: World, run: Run, out: Path
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    run()
    again = out.with_name("again")
    run(again)
    assert (again / MANIFEST_FILE).read_bytes() == (out / MANIFEST_FILE).read_bytes()


def photo_with_secrets() -> bytes:
    """A phone's photo with a comment and a place in its metadata."""
    exif = Image.Exif()
    exif[0x010E] = "PLANTED-DESCRIPTION"
    exif.get_ifd(0x8825)[1] = "PLANTED-PLACE"
    return jpeg(3, exif=exif, comment=b"PLANTED-COMMENT") + b"PLANTED-TAIL"


@both_databases
def test_nothing_in_the_folder_names_the_patient_the_case_or_the_clinic(
    world: World, run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = replace(
        cast.history(), notes="PLANTED-NOTES", medicines="PLANTED-MEDICINE", responsible_adult="P-A"
    )
    monkeypatch.setattr(cast, "history", lambda: told)
    photo = photo_with_secrets()
    assert photo.count(b"PLANTED") == 4
    world.decide_on_research(world.alice, permitted=True)
    case = signed(world, world.alice, photos={"close_up": photo})

    assert run().exit_code == 0

    with world.sessions() as session:
        row = session.get_one(Patient, world.alice.patient_id)
        ids = [*session.scalars(select(SealedObject.id)), *session.scalars(select(SignedReport.id))]
    personal = [
        *ids,
        *(case, row.id, row.record_number, row.clinic_id, world.alice.account_id),
        *(world.bob.account_id, world.erin.account_id, "PLANTED", "P-A", "shoulder blade"),
        *("Alice", "alice@", "Bob", "Reader", "Clinic 1", "REG-bob"),
        *(BIRTH_DATE.isoformat(), "harmless", "A clinical note"),
    ]
    found = list(stored_bytes(out))
    assert len(found) == 2
    for name, data in found:
        # A short word can stand in a picture's bytes by chance; it is looked for in the text.
        text = name.encode() + (data if name == MANIFEST_FILE else b"")
        assert [one for one in personal if one.encode() in text] == []
        assert [one for one in personal if len(one) > 6 and one.encode() in data] == []
    (manifest,) = (data for name, data in found if name == MANIFEST_FILE)
    (entry,) = json.loads(manifest)["cases"]
    assert set(entry) == set(TrainingCase.__dataclass_fields__)


def test_while_the_keeper_is_down_every_case_is_left_out_and_named(
    world: World, run: Run, out: Path
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    cases = [signed(world, world.alice), signed(world, world.alice)]
    world.hints.keeper = None

    result = run()

    assert refused(result, "There was no case to export; no folder was made.")
    for case in cases:
        name = f"{case[:4]}-{case[4:8]}".upper()
        assert f"Left out: case {name}: The key service does not answer." in result.output
    assert nothing_left(out)
    with world.sessions() as session:
        asked = select(KeyRequest).where(KeyRequest.purpose == "training")
        assert len(session.scalars(asked).all()) == 1
    assert entries(world, AuditAction.CASE_EXPORTED) == []
    assert entries(world, AuditAction.TRAINING_SET_EXPORTED) == []


def test_without_the_broker_nothing_is_exported(world: World, run: Run, out: Path) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    world.hints.down = True
    assert refused(run(), "The key service cannot be reached.")
    assert nothing_left(out)


def spoil_body(world: World, case: str) -> str:
    path = world.blobs._path(object_of(world, case, ObjectKind.RENDITION))
    body = path.read_bytes()
    path.write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    return "was changed"


def lose_body(world: World, case: str) -> str:
    world.blobs.delete(object_of(world, case, ObjectKind.RENDITION))
    return "is missing"


def damage_header(world: World, case: str) -> str:
    with world.sessions() as session, session.begin():
        session.get_one(SealedObject, object_of(world, case, ObjectKind.RENDITION)).header = "{}"
    return "an object cannot be opened"


def lose_picture(world: World, case: str) -> str:
    with world.sessions() as session, session.begin():
        session.execute(
            delete(SealedObject)
            .where(SealedObject.submission_id == case)
            .where(SealedObject.kind == ObjectKind.RENDITION)
        )
    return "no clean picture of the spot was made"


@pytest.mark.parametrize("spoil", [spoil_body, lose_body, damage_header, lose_picture])
def test_a_case_that_does_not_open_is_left_out_and_the_others_leave(
    world: World, run: Run, out: Path, spoil: Callable[[World, str], str]
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    damaged, whole = signed(world, world.alice), signed(world, world.alice)
    reason = spoil(world, damaged)

    result = run()

    assert refused(result, "1 cases were left out.")
    left_out = [line for line in result.output.splitlines() if "Left out" in line]
    assert len(left_out) == 1
    assert f"case {damaged[:4].upper()}" in left_out[0]
    assert reason in left_out[0]
    assert len(exported(out)) == 1
    assert [one.submission_id for one in entries(world, AuditAction.CASE_EXPORTED)] == [whole]


def test_consent_that_is_withdrawn_while_the_export_runs_is_respected(
    world: World, run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    ask = training_export.TrainingExport._ask

    def withdrawn_before(self: Any, report: SignedReport) -> Any:
        world.decide_on_research(world.alice, permitted=False)
        return ask(self, report)

    monkeypatch.setattr(training_export.TrainingExport, "_ask", withdrawn_before)
    result = run()
    assert refused(result, "the patient does not permit research")
    assert nothing_left(out)
    assert len(entries(world, AuditAction.KEYS_REFUSED)) == 1


def test_a_full_disk_leaves_nothing_behind(
    world: World, run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training_export, "write_training_manifest", full)
    assert refused(run(), "Nothing was exported: [Errno 28] No space left on device")
    assert nothing_left(out)


def test_a_folder_that_is_not_free_is_refused_before_anybody_is_asked(
    world: World, run: Run, out: Path
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    out.mkdir()
    (out / "notes.txt").write_text("keep me")

    assert refused(run(), "is not empty; name a new folder.")
    assert refused(run(out / "notes.txt"), "is not empty; name a new folder.")
    assert refused(run(out / "a" / "b"), "There is no folder")

    assert [path.name for path in out.rglob("*")] == ["notes.txt"]
    assert entries(world, AuditAction.SIGNED_IN) == []


def test_an_empty_folder_is_filled(world: World, run: Run, out: Path) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    out.mkdir()
    assert run().exit_code == 0
    assert len(exported(out)) == 1


@pytest.mark.parametrize(
    "typed",
    [
        {"password": "not the password"},
        {"code": "000000"},
        {"who": "bob"},
        {"who": "alice"},
        {"who": "nobody"},
    ],
    ids=["password", "code", "dermatologist", "patient", "unknown"],
)
def test_only_an_administrator_with_both_factors_exports(
    world: World, run: Run, out: Path, typed: dict[str, str]
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    assert refused(run(**typed), "or this person is no administrator.")
    assert nothing_left(out)
    (entry,) = entries(world, AuditAction.SIGN_IN_REFUSED)
    assert (entry.allowed, entry.detail) == (False, "export")
    with world.sessions() as session:
        assert session.scalars(select(LoginSession)).all() == []


def test_an_administrator_with_a_passkey_alone_spends_a_recovery_code(
    world: World, run: Run, out: Path
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    with world.sessions() as session, session.begin():
        session.get_one(Account, world.erin.account_id).totp_secret_sealed = None
        code = recovery_codes.renew(session, world.erin.account_id)[0]

    assert run(code=code).exit_code == 0
    assert len(exported(out)) == 1
    assert refused(run(out.with_name("again"), code=code), "or this person is no administrator.")
    with world.sessions() as session:
        (notice,) = session.scalars(select(Notice))
    assert notice.kind == NoticeKind.RECOVERY_CODE_USED


def test_a_disabled_administrator_exports_nothing(world: World, run: Run) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.erin.account_id)
        account.disabled_at = account.created_at
    assert refused(run(), "or this person is no administrator.")


def test_the_session_of_an_export_ends_with_it(world: World, run: Run) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    run()
    with world.sessions() as session:
        (login,) = session.scalars(select(LoginSession))
    assert login.account_id == world.erin.account_id
    assert login.ended_at is not None
    assert len(entries(world, AuditAction.SIGNED_OUT)) == 1


def test_the_patient_sees_that_a_case_was_copied(
    world: World, run: Run, signed_in: Callable[[str], BrowserSession]
) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    run()
    page = words(signed_in("alice").get("/my-record/access").text)
    assert "copied your photos without your name" in page
    assert "Why: for research, as you agreed." in page


def test_no_secret_and_no_pseudonym_is_in_the_audit_log(world: World, run: Run, out: Path) -> None:
    world.decide_on_research(world.alice, permitted=True)
    signed(world, world.alice)
    run()
    (photo,) = exported(out)
    with world.sessions() as session:
        log = repr([vars(row) for row in session.scalars(select(AuditEntry))])
    for one in (photo.image_id, photo.lesion_id, PASSWORD):
        assert one not in log
