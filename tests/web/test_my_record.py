"""The archive that a patient takes along: whole, sound as FHIR, and of nobody else."""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable

import pytest
from fhir.resources.R4B.bundle import Bundle

from clinic.audit_event import AuditAction
from clinic.fhir_checks import problems
from clinic.records import accounts
from clinic.records.models import Account, LoginSession
from tests.browser_session import BrowserSession
from tests.portal_tools import DECISION, both_databases, entries
from tests.world import PASSWORD, World

SignedIn = Callable[[str], BrowserSession]


@pytest.fixture
def alice(signed_in: SignedIn) -> BrowserSession:
    return signed_in("alice")


def archive(browser: BrowserSession) -> dict[str, bytes]:
    answer = browser.get("/my-record/archive.zip")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def resources(files: dict[str, bytes], kind: str) -> list[dict[str, object]]:
    entries = json.loads(files["record.fhir.json"])["entry"]
    return [one["resource"] for one in entries if one["resource"]["resourceType"] == kind]


@both_databases
def test_the_bundle_is_sound_and_holds_every_case(world: World, alice: BrowserSession) -> None:
    signed, waiting = world.signed(world.alice, world.bob), world.screened(world.alice)
    of_another = world.signed(world.carol, world.bob)

    files = archive(alice)
    bundle = json.loads(files["record.fhir.json"])

    assert Bundle.model_validate(bundle).type == "collection"
    assert problems(bundle) == []
    assert [one["id"] for one in resources(files, "DiagnosticReport")] == [signed]
    histories = {one["identifier"]["value"] for one in resources(files, "QuestionnaireResponse")}
    assert histories == {signed, waiting}
    assert {one["scope"]["coding"][0]["code"] for one in resources(files, "Consent")}
    assert of_another not in files["record.fhir.json"].decode()


def test_before_signing_the_archive_tells_nothing_of_what_the_computer_found(
    world: World, alice: BrowserSession
) -> None:
    world.first_read(world.alice, world.bob)

    files = archive(alice)

    assert resources(files, "Observation") == []
    assert not [name for name in files if name.startswith("letters/")]


def test_the_note_for_colleagues_is_not_in_it_and_the_letter_is(
    world: World, alice: BrowserSession
) -> None:
    case = world.signed(world.alice, world.bob)
    reference = f"{case[:4]}-{case[4:8]}".upper()

    files = archive(alice)

    assert b"This spot is harmless." in files[f"letters/{reference}.html"]
    assert not [name for name, content in files.items() if b"A clinical note." in content]


def test_what_a_doctor_wrote_when_asking_for_new_photos_is_in_it(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    case = world.claimed(world.alice, world.bob)
    reader = signed_in("bob")
    reader.post(f"/review/{case}/retake", {"reasons": ["other"], "message": "Lift the plaster."})

    reference = f"{case[:4]}-{case[4:8]}".upper()
    assert archive(alice)[f"requests/{reference}.txt"] == b"Lift the plaster."


def test_the_letter_for_the_gp_is_in_it_and_the_newest_version_alone(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    case, bob = world.first_read(world.alice, world.bob), signed_in("bob")
    bob.post(f"/review/{case}/sign", {**DECISION, "gp_text": "Dear colleague.", "action": "sign"})
    more = {"patient_text": "One thing more.", "version": "1"}
    bob.post(f"/review/{case}/addendum", more)

    files = archive(alice)
    reference = f"{case[:4]}-{case[4:8]}".upper()
    assert files[f"letters/{reference}-gp.txt"] == b"Dear colleague."
    assert b"One thing more." in files[f"letters/{reference}.html"]
    assert b"Report with an addendum" in files[f"letters/{reference}.html"]


def test_what_a_later_version_replaced_is_in_it_under_its_number(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    case, bob = world.first_read(world.alice, world.bob), signed_in("bob")
    bob.post(f"/review/{case}/sign", {**DECISION, "gp_text": "Dear colleague.", "action": "sign"})
    bob.post(f"/review/{case}/addendum", {"patient_text": "One thing more.", "version": "1"})

    files = archive(alice)

    reference = f"{case[:4]}-{case[4:8]}".upper()
    first = files[f"letters/{reference}-version-1.html"]
    assert DECISION["patient_text"].encode() in first
    assert b"One thing more." not in first
    assert files[f"letters/{reference}-version-1-gp.txt"] == b"Dear colleague."
    assert f"letters/{reference}-version-2.html" not in files


def test_the_page_s_script_is_told_where_the_doctor_s_files_for_the_patient_are(
    world: World, alice: BrowserSession, signed_in: SignedIn
) -> None:
    case, bob = world.first_read(world.alice, world.bob), signed_in("bob")
    for for_patient in ("y", ""):
        file = (io.BytesIO(b"%PDF-1.7 leaflet"), "leaflet.pdf")
        form = {"kind": "leaflet", "for_patient": for_patient} if for_patient else {"kind": "other"}
        bob.post(f"/review/{case}/attachments", {**form, "file": file})
    assert alice.get("/my-record/archive.json").json["cases"][0]["attachments"] == []
    bob.post(f"/review/{case}/sign", {**DECISION, "action": "sign"})

    (one,) = alice.get("/my-record/archive.json").json["cases"][0]["attachments"]

    reference = f"{case[:4]}-{case[4:8]}".upper()
    assert one["name"] == f"files/{reference}/1-leaflet.pdf"
    assert alice.get(one["url"]).data == b"%PDF-1.7 leaflet"


def test_a_diagnosis_in_the_doctors_own_words_comes_with_its_code(
    world: World, alice: BrowserSession
) -> None:
    case = world.first_read(world.alice, world.bob)
    world.sign(case, world.bob, diagnosis="other")

    (report,) = resources(archive(alice), "DiagnosticReport")

    assert "ICD-10-CM D22.5" in json.dumps(report["conclusionCode"])


def test_the_manifest_names_every_file_with_its_fingerprint(
    world: World, alice: BrowserSession
) -> None:
    world.signed(world.alice, world.bob)

    files = archive(alice)
    named = json.loads(files.pop("manifest.json"))["files"]

    assert {one["name"]: one["sha256"] for one in named} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }


def test_account_consents_and_who_looked_are_in_it(world: World, alice: BrowserSession) -> None:
    world.signed(world.alice, world.bob)
    alice.get("/cases")

    files = archive(alice)

    account = json.loads(files["account.json"])
    assert (account["email"], account["family_name"]) == ("alice@example.org", "Alice-Family")
    purposes = {one["purpose"]: one["permitted"] for one in json.loads(files["consents.json"])}
    assert purposes == {"care": True, "teledermatology": True, "ai_assistance": True}
    log = list(csv.DictReader(io.StringIO(files["access-log.csv"].decode())))
    assert {"You", "The computer"} <= {line["who"] for line in log}
    assert all(line["why"] for line in log)


def test_the_server_says_why_there_are_no_photos_in_its_archive(alice: BrowserSession) -> None:
    readme = archive(alice)["README.txt"].decode()

    assert "only your own browser can open them" in readme
    assert not [name for name in archive(alice) if name.startswith("photos/")]


def test_the_page_s_script_gets_the_same_files_and_where_to_ask_for_photos(
    world: World, alice: BrowserSession
) -> None:
    case = world.signed(world.alice, world.bob)

    record = alice.get("/my-record/archive.json").json

    (one,) = record["cases"]
    assert one == {"id": case, "grant_url": f"/cases/{case}/grants", "attachments": []}
    assert {"README.txt", "record.fhir.json"} <= {one["name"] for one in record["files"]}


def test_each_download_is_one_audit_entry(world: World, alice: BrowserSession) -> None:
    archive(alice)

    (entry,) = entries(world, AuditAction.RECORD_EXPORTED)
    assert (entry.patient_id, entry.detail) == (world.alice.patient_id, "0 cases without photos")


def test_an_old_sign_in_must_confirm_the_password_first(
    world: World, alice: BrowserSession
) -> None:
    long_ago(world)
    for path in ("/my-record/download", "/my-record/archive.zip", "/my-record/archive.json"):
        assert alice.get(path).location == "/step-up?next=/my-record/download"

    page = "/step-up?next=/my-record/download"
    wrong = alice.post(page, {"password": "not this one"})
    assert (wrong.status_code, "not right" in wrong.text) == (422, True)
    assert alice.get("/my-record/archive.zip").status_code == 302

    right = alice.post(page, {"password": PASSWORD})
    assert right.location == "/my-record/download"
    assert alice.get("/my-record/archive.zip").status_code == 200
    assert [one.allowed for one in entries(world, AuditAction.PROOF_REFUSED)] == [False]
    assert [one.allowed for one in entries(world, AuditAction.STEPPED_UP)] == [True]


def long_ago(world: World) -> None:
    with world.sessions() as session, session.begin():
        account = session.get_one(Account, world.alice.account_id)
        for login in accounts.logins_of(session, account.id):
            session.get_one(LoginSession, login.id).stepped_up_at = None


def test_downloads_are_limited(alice: BrowserSession) -> None:
    answers = [alice.get("/my-record/archive.json").status_code for _ in range(21)]
    assert answers == [200] * 20 + [429]
