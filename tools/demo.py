"""The demo: the whole system on this machine, one photo through it, each role one click away.

The photo takes the real way: sealed here as a browser seals it, sent over HTTP, queued, analysed
by the worker, read and (with --once) signed at the dermatologist's desk, exported over FHIR.
"""

import argparse
import io
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from PIL import Image

from clinic.access import Role
from clinic.records.models import ScreeningResult
from clinic.terminology import LESION_CLASSES
from clinic.urgency import urgency_at
from tools import installation as setup
from tools.installation import Installation
from tools.lesion_drawing import save_drawn
from tools.portal_client import Picture, PortalClient, PortalError
from tools.ports import PortInUseError, free_port, refuse_port_in_use
from tools.running import NotWorkingError, Running, prepared, start
from tools.supervisor import Supervisor

ROOT = setup.ROOT
DRAWN_SEED = 30
HEATMAP_STRENGTH = 0.6
INTERRUPTED = 130

HISTORY = {
    "spot_count": "1",
    "can_be_photographed": "yes",
    "site": "back",
    "side": "left",
    "site_detail": "Below the shoulder blade",
    "onset": "months",
    "change_in_size": "yes",
    "irregular_shape": "unknown",
    "irregular_colour": "no",
    "diameter_7_mm": "no",
    "inflammation": "no",
    "oozing": "no",
    "change_in_sensation": "no",
    "bleeding": "no",
    "not_healing_4_weeks": "no",
    "firm_growing_lump": "no",
    "pink_and_changing": "no",
    "new_nail_streak": "no",
    "sex": "female",
    "skin_type": "II",
    "own_skin_cancer": "no",
    "family_skin_cancer": "no",
    "immunosuppressed": "no",
    "notes": "This is a demonstration.",
}

PATIENT_TEXT = (
    "This is a demonstration. No doctor has looked at this photo. "
    "Please do not use it to decide about your skin. "
    "If a spot worries you, show it to a doctor."
)


class DemoError(Exception):
    """The demo could not do its job; the message says what to look at."""


class Stopped(Exception):
    """Ctrl-C, or a signal to end."""


EXPECTED = (
    DemoError,
    NotWorkingError,
    PortalError,
    PortInUseError,
    httpx.TransportError,
    PermissionError,
)


@dataclass
class Stopwatch:
    """Seconds for each stage of the run."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, words: str) -> Iterator[None]:
        _say(f"{words} ...")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)
        _say(f"  done in {self.seconds[name]} s")


def main() -> int:
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    supervisor = Supervisor()
    try:
        _demo(options, supervisor)
    except Stopped:
        _say("Stopping.")
        return INTERRUPTED if options.once else 0
    except EXPECTED as error:
        _say(f"The demo did not work: {error}")
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        supervisor.stop()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/demo", description=__doc__)
    parser.add_argument("--photo", type=Path, help="a JPEG, PNG or WebP; without it one is drawn")
    parser.add_argument("--once", action="store_true", help="do the whole job, then stop")
    parser.add_argument("--out", type=Path, help="leave report, heat-map, result and timings here")
    parser.add_argument("--port", type=int, default=8000, help="port of the portal")
    parser.add_argument("--data", type=Path, default=ROOT / "var" / "demo", help="data folder")
    parser.add_argument(
        "--weights", type=Path, default=ROOT / "ml" / "weights", help="folder of model bundles"
    )
    return parser.parse_args()


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def _demo(options: argparse.Namespace, supervisor: Supervisor) -> None:
    watch = Stopwatch()
    photo = _photo(options.photo, options.data)
    refuse_port_in_use(options.port)
    running = _start(options, supervisor, watch)
    case_id = _send(running, photo, watch)
    with watch.stage("analyse", "The worker analyses the photo"):
        result = running.await_result(case_id)
    _print_result(case_id, result, watch)
    pictures: list[Picture] = []
    bundle: dict[str, Any] = {}
    if options.once:
        with watch.stage("review", "The demo dermatologist reads, decides and signs"):
            pictures = _review_and_sign(running, case_id, result)
        with watch.stage("export", "The record system reads the report over FHIR"):
            bundle = _export(running, case_id)
    if options.out is not None:
        _leave_files(options.out, watch, Findings(result, pictures, bundle))
    if not options.once:
        _print_addresses(running)
        _keep_running(running)


def _photo(path: Path | None, data: Path) -> bytes:
    if path is None:
        data.mkdir(parents=True, exist_ok=True)
        path = data / "drawn-lesion.jpg"
        save_drawn(path, DRAWN_SEED)
        _say(f"No photo given: a lesion was drawn ({path.name}); it shows no real skin.")
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:
            image.verify()
    except FileNotFoundError as error:
        raise DemoError(f"There is no file {path}. Give the path of a photo.") from error
    except (OSError, SyntaxError) as error:
        raise DemoError(f"{path} is not a JPEG, PNG or WebP photo that can be read.") from error
    return content


def _start(options: argparse.Namespace, supervisor: Supervisor, watch: Stopwatch) -> Running:
    installation = Installation(
        options.data.resolve(), options.port, free_port(), options.weights.resolve()
    )
    with watch.stage("prepare", "Preparing keys, database and people"):
        running = prepared(installation)
        running.supervisor = supervisor
    with watch.stage("start", "Starting broker, keeper, worker, relay, reconciler and portal"):
        start(running)
    return running


def _send(running: Running, photo: bytes, watch: Stopwatch) -> str:
    person = running.people[Role.PATIENT]
    patient = PortalClient(running.installation.base_url)
    with watch.stage("send", "The patient signs in, seals the photo and sends it"):
        patient.sign_in(person.email, person.password)
        case_id = patient.send_case(HISTORY, {"dermoscopic": photo, "close_up": photo})
    patient.close()
    return case_id


def _review_and_sign(running: Running, case_id: str, result: ScreeningResult) -> list[Picture]:
    person = running.people[Role.DERMATOLOGIST]
    desk = PortalClient(running.installation.base_url)
    desk.sign_in(person.email, person.password)
    queue = desk.prove_second_factor(person.totp_secret or "")
    pictures = read_and_sign(desk, queue, case_id, result)
    desk.close()
    return pictures


def read_and_sign(
    desk: PortalClient, queue: str, case_id: str, result: ScreeningResult
) -> list[Picture]:
    """Claim, read blind, look and sign, as a dermatologist does from the page `queue`."""
    probabilities = result.probabilities or {}
    top = max(probabilities, key=lambda label: probabilities[label])
    page = desk.post(f"/review/{case_id}/claim", {}, page=queue)
    first = {"impression": top, "confidence": "low", "urgency": "suspicious"}
    page = desk.post(f"/review/{case_id}/first-read", first, page=page)
    pictures = desk.pictures(case_id, page=page)
    decision = {
        "diagnosis": top,
        "icd10_code": LESION_CLASSES[top].targets[0].icd10.code,
        "confidence": "low",
        "image_quality": "acceptable",
        "plan": "in_person",
        "agreement": "agree",
        "override_reason": "",
        "clinical_note": "Signed by the demo program. No doctor looked at this photo.",
        "patient_text": PATIENT_TEXT,
    }
    preview = desk.post(f"/review/{case_id}/sign", decision, page=page)
    signing = {**decision, "action": "sign"}
    desk.post(f"/review/{case_id}/sign", signing, page=preview)
    return pictures


def _export(running: Running, case_id: str) -> dict[str, Any]:
    """The signed report with all that it refers to, as a registered EHR client reads it."""
    ehr = PortalClient(running.installation.base_url)
    includes = ["subject", "performer", "results-interpreter", "result", "media"]
    query = "&".join(f"_include=DiagnosticReport:{name}" for name in includes)
    bundle = ehr.fhir(
        f"DiagnosticReport?_id={case_id}&{query}&_revinclude=Provenance:target", running.ehr_token
    )
    ehr.close()
    if bundle.get("total") != 1:
        raise DemoError("The signed report did not appear on the FHIR side.")
    return bundle


@dataclass(frozen=True)
class Findings:
    """What a run leaves behind; pictures and Bundle exist only after the signature."""

    result: ScreeningResult
    pictures: list[Picture]
    bundle: dict[str, Any]


def _leave_files(out: Path, watch: Stopwatch, found: Findings) -> None:
    out.mkdir(parents=True, exist_ok=True)
    _write_json(out / "result.json", _as_dict(found.result))
    _write_json(out / "timings.json", {**watch.seconds, "worker": found.result.stage_seconds})
    if found.bundle:
        _write_json(out / "report.json", found.bundle)
    if found.pictures:
        _blend(found.pictures).save(out / "heatmap.png")
    _say(f"Files are in {out}.")


def _as_dict(result: ScreeningResult) -> dict[str, Any]:
    return {
        "probabilities": result.probabilities,
        "members": result.members,
        "spread": result.spread,
        "urgency": urgency_at(result.urgency),
        "reasons": result.reasons,
        "quality_flags": result.quality_flags,
        "explained_class": result.explained_class,
        "maps": result.maps,
        "analysed_view": result.analysed_view,
        "seven_point_score": result.seven_point_score,
        "model_version": result.model_version,
        "model_fingerprint": result.model_fingerprint,
    }


def _blend(pictures: list[Picture]) -> Image.Image:
    """The heat-map over the photo that it explains, as the desk shows it."""
    overlay = next(one for one in pictures if one.kind == "heatmap")
    below = next(one for one in pictures if one.kind == "rendition" and one.view == overlay.view)
    photo = Image.open(io.BytesIO(below.data)).convert("RGBA")
    heat = Image.open(io.BytesIO(overlay.data)).convert("RGBA").resize(photo.size)
    alpha = heat.getchannel("A").point([round(value * HEATMAP_STRENGTH) for value in range(256)])
    heat.putalpha(alpha)
    return Image.alpha_composite(photo, heat).convert("RGB")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _print_result(case_id: str, result: ScreeningResult, watch: Stopwatch) -> None:
    _say("")
    _say(f"Result of case {case_id[:8]}: urgency {urgency_at(result.urgency)}")
    for reason in result.reasons:
        _say(f"  - {reason}")
    probabilities = result.probabilities or {}
    for label in sorted(probabilities, key=lambda one: -probabilities[one]):
        _say(f"  {probabilities[label]:6.1%}  {LESION_CLASSES[label].display}")
    _say(f"  model {result.model_version}, fingerprint {(result.model_fingerprint or '')[:16]}")
    stages = ", ".join(f"{name} {seconds} s" for name, seconds in result.stage_seconds.items())
    _say(f"  inside the worker: {stages}")
    _say(f"  all stages: {', '.join(f'{name} {value} s' for name, value in watch.seconds.items())}")


def _print_addresses(running: Running) -> None:
    installation = running.installation
    links = setup.sign_in_links(installation, list(running.people.values()))
    _say("")
    _say(f"The portal runs at {installation.public_url}. One click for each role:")
    for role, link in links.items():
        _say(f"  {role:14} {link}")
    _say("The links work once and for 10 minutes. After that, sign in with:")
    for role, person in running.people.items():
        factor = f", second factor (TOTP) {person.totp_secret}" if person.totp_secret else ""
        _say(f"  {role:14} {person.email}  {person.password}{factor}")
    _say("The signed reports for record systems:")
    _say(f"  curl -H 'Authorization: Bearer {running.ehr_token}' \\")
    _say(f"    {installation.base_url}/fhir/R4/DiagnosticReport")
    _say("Research and demonstration software, not a medical device. Ctrl-C stops everything.")


def _keep_running(running: Running) -> None:
    while True:
        running.supervisor.watch()
        time.sleep(0.5)


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
