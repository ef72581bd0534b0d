"""A client that does over HTTP what a browser does: forms, sealing, viewing with its own key."""

import base64
import html
import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pyotp
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from clinic.envelope import Context, open_body, parse_header, seal, unwrap
from clinic.epoch_key import SignedEpochKey, verify_epoch_key
from clinic.keeper_protocol import RECIPIENT_KID

TIMEOUT_SECONDS = 30.0
TOTP_STEP_SECONDS = 30


class PortalError(Exception):
    """The portal did not answer as expected; the message holds its words."""

    def __init__(self, message: str, answer: httpx.Response | None = None) -> None:
        super().__init__(message)
        self.answer = answer


@dataclass(frozen=True)
class SealedCase:
    """A form with sealed photos, ready to be sent; sent twice it is one case."""

    submission_id: str
    fields: dict[str, Any]
    files: dict[str, tuple[str, bytes, str]] = field(repr=False)


@dataclass(frozen=True)
class Picture:
    """A picture that was opened with this client's own key."""

    kind: str
    view: str
    data: bytes = field(repr=False)


class PortalClient:
    """One person's browser."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=TIMEOUT_SECONDS, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str) -> str:
        return _text(self._http.get(path, follow_redirects=True))

    def post(self, path: str, fields: dict[str, Any], *, page: str) -> str:
        """Send a form with the token that `page` carries; return the page that follows."""
        data = {**fields, "csrf_token": csrf_token(page)}
        return _text(self._http.post(path, data=data, follow_redirects=True))

    def sign_in(self, email: str, password: str) -> str:
        page = self.get("/sign-in")
        return self.post("/sign-in", {"email": email, "password": password}, page=page)

    def prove_second_factor(self, secret: str) -> str:
        """Type the code of the moment; a code that was used or is about to end is waited out."""
        page = self.get("/second-factor")
        for _ in range(3):
            wait_for_fresh_code()
            code = pyotp.TOTP(secret).now()
            try:
                return self.post("/second-factor", {"code": code}, page=page)
            except PortalError:
                time.sleep(TOTP_STEP_SECONDS - time.time() % TOTP_STEP_SECONDS + 0.2)
        raise PortalError("The second factor was refused three times.")

    def send_case(self, history: dict[str, Any], photos: dict[str, bytes]) -> str:
        """Seal the photos as the browser does and send the case; return its id."""
        case = self.seal_case(history, photos)
        answer = self.post_case(case)
        if answer.status_code != httpx.codes.ACCEPTED:
            raise PortalError(f"The portal refused the case: {answer.text}", answer)
        return case.submission_id

    def seal_case(self, history: dict[str, Any], photos: dict[str, bytes]) -> SealedCase:
        page = self.get("/cases/new")
        submission_id = _attribute(page, "data-submission")
        fields = {**history, "submission_id": submission_id, "csrf_token": csrf_token(page)}
        return SealedCase(submission_id, fields, _sealed_files(page, photos, self._pinned_root()))

    def _pinned_root(self) -> bytes:
        """The root's public key, from the script that pins it."""
        found = re.search(r'"([A-Za-z0-9+/=]+)"', self.get("/root-key.js"))
        if found is None:
            raise PortalError("The portal pins no root key.")
        return base64.b64decode(found.group(1))

    def replace_photos(self, case_id: str, photos: dict[str, bytes]) -> httpx.Response:
        """Send new photos for a case that asks for them."""
        page = self.get(f"/cases/{case_id}")
        fields = {"submission_id": case_id, "csrf_token": csrf_token(page)}
        files = _sealed_files(page, photos, self._pinned_root())
        headers = {"Accept": "application/json"}
        return self._http.post(
            f"/cases/{case_id}/photos", data=fields, files=files, headers=headers
        )

    def post_case(self, case: SealedCase) -> httpx.Response:
        headers = {"Accept": "application/json"}
        return self._http.post("/cases/new", data=case.fields, files=case.files, headers=headers)

    def pictures(self, case_id: str, *, page: str) -> list[Picture]:
        """Ask the keeper for this case's pictures and open them here, with a key of our own."""
        private = X25519PrivateKey.generate()
        public = base64.b64encode(private.public_key().public_bytes_raw()).decode()
        asked = self._http.post(
            f"/cases/{case_id}/grants",
            json={"public_key": public},
            headers={"X-CSRFToken": csrf_token(page)},
        )
        if asked.status_code != httpx.codes.ACCEPTED:
            raise PortalError(f"The portal refused the pictures: {asked.text}")
        described = self._await_grant(asked.json()["url"])
        return [self._open(case_id, one, private) for one in described]

    def _await_grant(self, url: str) -> list[dict[str, Any]]:
        for _ in range(80):
            answer = self._http.get(url)
            if answer.status_code == httpx.codes.OK:
                found: list[dict[str, Any]] = answer.json()["objects"]
                return found
            if answer.status_code != httpx.codes.ACCEPTED:
                raise PortalError(f"The keeper refused the pictures: {answer.text}")
            time.sleep(0.25)
        raise PortalError("The keeper did not answer.")

    def _open(self, case_id: str, one: dict[str, Any], private: X25519PrivateKey) -> Picture:
        body = self._http.get(one["url"])
        if body.status_code != httpx.codes.OK:
            raise PortalError(f"A picture could not be fetched: {body.status_code}")
        header = parse_header(one["header"])
        file_key = unwrap(header, kid=RECIPIENT_KID, private_key=private)
        expected = Context(submission=case_id, slot=one["slot"], type=one["type"])
        data = open_body(header, body.content, file_key=file_key, expected=expected)
        return Picture(one["type"], one["view"], data)

    def fhir(self, path: str, token: str) -> dict[str, Any]:
        """A resource or Bundle for a registered client."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
        answer = self._http.get(f"/fhir/R4/{path}", headers=headers)
        if answer.status_code != httpx.codes.OK:
            raise PortalError(f"FHIR answered {answer.status_code}: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found


def wait_for_fresh_code(*, seconds: float = 2.0) -> None:
    """A code is good for its own 30 seconds only: do not start at their very end."""
    left = TOTP_STEP_SECONDS - time.time() % TOTP_STEP_SECONDS
    if left < seconds:
        time.sleep(left + 0.2)


def _sealed_files(
    page: str, photos: dict[str, bytes], root: bytes
) -> dict[str, tuple[str, bytes, str]]:
    """The photos by view, each sealed for its place in the form of `page`."""
    signed = SignedEpochKey.from_json(_attribute(page, "data-epoch"))
    epoch = verify_epoch_key(signed, root, now=datetime.now(UTC))
    slots = dict(re.findall(r'data-view="(\w+)" data-slot="(\d+)"', page))
    files = {}
    for view, photo in photos.items():
        context = Context(
            submission=_attribute(page, "data-submission"), slot=int(slots[view]), type="photo"
        )
        sealed = seal(photo, context=context, recipients=[epoch.recipient()])
        files[f"sealed_{view}"] = ("sealed", sealed.to_bytes(), "application/octet-stream")
    return files


def csrf_token(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    if found is None:
        raise PortalError("The page has no form.")
    return found.group(1)


def _attribute(page: str, name: str) -> str:
    found = re.search(rf"{name}=(?:\"([^\"]*)\"|'([^']*)')", page)
    if found is None:
        raise PortalError(f"The page has no {name}.")
    return html.unescape(found.group(1) or found.group(2))


def _text(answer: httpx.Response) -> str:
    if answer.status_code >= httpx.codes.BAD_REQUEST:
        words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))
        raise PortalError(
            f"{answer.request.url} answered {answer.status_code}: {words[:600]}", answer
        )
    return answer.text
