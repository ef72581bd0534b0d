"""The manifest of a backup: what belongs to it, under a MAC that the audit key's holder can make.

It travels beside the parts in clear: sizes, digests, times and the version of the tables.
"""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from clinic.sealed_part import Part

FORMAT = "dermqueue backup 1"


class ManifestError(Exception):
    """The manifest was changed, or was made under another audit key or by another version."""


@dataclass(frozen=True, kw_only=True)
class BackupManifest:
    """`revision` names the version of the tables.

    `audit_sequence` and `audit_mac` are the audit chain's head at that moment: a database that
    does not have that entry is not the one that was copied. `damaged` names the objects whose
    bodies were missing or changed in the photo store already. `master_keys` are the ids of those
    that wrap the keys in the database's part: without them nothing in the backup opens.
    """

    made_at: datetime
    revision: str
    audit_sequence: int
    audit_mac: str
    database: Part
    bodies: Part
    ledger: Part
    damaged: tuple[str, ...]
    master_keys: tuple[str, ...] = ()  # of a backup from before master keys had ids

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.database, self.bodies, self.ledger

    def to_json(self, audit_key: bytes) -> str:
        """The text and its MAC; the text travels as a string, so that its bytes stay the same."""
        fields = {"format": FORMAT, **asdict(self), "made_at": self.made_at.isoformat()}
        text = json.dumps(fields)
        return json.dumps({"manifest": text, "mac": _mac(audit_key, text)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, audit_key: bytes) -> Self:
        """Read and check a manifest.

        Raises:
            ManifestError: it is not one that this installation's audit key made.

        """
        try:
            outer = json.loads(text)
            signed, mac = str(outer["manifest"]), str(outer["mac"])
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError("The manifest is not one of a backup.") from error
        if not hmac.compare_digest(mac, _mac(audit_key, signed)):
            raise ManifestError("The manifest was changed, or made under another audit key.")
        fields = json.loads(signed)
        if fields.pop("format") != FORMAT:
            raise ManifestError("The backup was made by another version of this software.")
        parts = {name: Part(**fields[name]) for name in ("database", "bodies", "ledger")}
        made_at = datetime.fromisoformat(fields["made_at"])
        lists = {name: tuple(fields.get(name, ())) for name in ("damaged", "master_keys")}
        return cls(**{**fields, **parts, **lists, "made_at": made_at})


def _mac(audit_key: bytes, text: str) -> str:
    key = HKDF(SHA256(), 32, None, b"dermqueue backup manifest").derive(audit_key)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
