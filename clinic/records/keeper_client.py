"""Asking the keeper for file keys under this process's own public key, and waiting for them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from clinic.envelope import parse_header, unwrap
from clinic.hints import ANSWER_KEY_REQUEST, BrokerDownError, Hints
from clinic.keeper_protocol import CANNOT_OPEN, RECIPIENT_KID
from clinic.records import key_requests
from clinic.records.db import SessionFactory
from clinic.records.key_requests import NewKeyRequest
from clinic.records.keys import ProcessIdentity
from clinic.records.models import KeyRequest

POLL_SECONDS = 0.005
ASK_AGAIN_SECONDS = 2.0


class KeeperUnavailableError(Exception):
    """The keeper did not answer in time. Nothing was opened; ask again later."""


class KeeperRefusedError(Exception):
    """The keeper decided against the request."""


class KeeperCannotOpenError(KeeperRefusedError):
    """An object is damaged, or its key was destroyed: no key opens it any more."""


@dataclass(frozen=True)
class KeeperClient:
    """One process's way to the keeper. The private key never leaves the process."""

    sessions: SessionFactory
    hints: Hints
    identity: ProcessIdentity
    patience_seconds: float = 6.0

    def file_keys(self, wanted: NewKeyRequest) -> dict[str, bytes]:
        """The file keys (32 bytes) by object id.

        Raises:
            KeeperUnavailableError: keeper or broker is down.
            KeeperRefusedError: the keeper's own policy says no.
            KeeperCannotOpenError: an object does not open under its key.

        """
        return self.all_file_keys([wanted])[0]

    def all_file_keys(self, wanted: Sequence[NewKeyRequest]) -> list[dict[str, bytes]]:
        """The file keys of several requests: all are asked at once, then waited for together."""
        public = self.identity.private_key.public_key().public_bytes_raw()
        mine = [replace(one, recipient_key=public, process_id=self.identity.id) for one in wanted]
        with self.sessions() as session, session.begin():
            request_ids = [row.id for row in key_requests.ask_all(session, mine)]
        answers = self._await(request_ids)
        return [
            {object_id: self._unwrap(header) for object_id, header in answers[one].items()}
            for one in request_ids
        ]

    def _await(self, request_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """The answers by request. Patience begins anew with each one that comes."""
        answers: dict[str, dict[str, str]] = {}
        give_up_at = time.monotonic() + self.patience_seconds
        ask_again_at = 0.0
        while time.monotonic() < give_up_at:
            waiting = [one for one in request_ids if one not in answers]
            if not waiting:
                return answers
            if time.monotonic() >= ask_again_at:
                for one in waiting:
                    self._hint(one)
                ask_again_at = time.monotonic() + ASK_AGAIN_SECONDS
            with self.sessions() as session:
                found = {row.id: _headers(row) for row in key_requests.answered(session, waiting)}
            if found:
                answers |= found
                give_up_at = time.monotonic() + self.patience_seconds
            else:
                time.sleep(POLL_SECONDS)
        raise KeeperUnavailableError("The key service does not answer.")

    def _hint(self, request_id: str) -> None:
        try:
            self.hints.send(ANSWER_KEY_REQUEST, request_id)
        except BrokerDownError as error:
            raise KeeperUnavailableError("The key service cannot be reached.") from error

    def _unwrap(self, header_text: str) -> bytes:
        header = parse_header(header_text)
        return unwrap(header, kid=RECIPIENT_KID, private_key=self.identity.private_key)


def _headers(row: KeyRequest) -> dict[str, str]:
    if row.answer is None:
        refusal = row.refusal or "The request was refused."
        raise (KeeperCannotOpenError if refusal.startswith(CANNOT_OPEN) else KeeperRefusedError)(
            refusal
        )
    return row.answer
