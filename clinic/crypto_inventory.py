"""Every cryptographic algorithm in use (ASVS 5.0 11.1.1): a test finds any that is missing here.

Readers take the identifiers below and refuse all others; nothing is negotiated. `quantum` says what
a large quantum computer would do to it, and what is planned then.
"""

from dataclasses import dataclass
from typing import Final

from clinic.container import (
    AEAD_AES_256_GCM,
    ALG_PATIENT,
    KDF_HKDF_SHA256,
    KEM_X25519,
)

_HOLDS: Final = "holds: 256-bit symmetric"
_NO_SECRET: Final = "holds: no secret is derived from it"  # noqa: S105 - words about secrets


@dataclass(frozen=True)
class Algorithm:
    """`imports`: what code imports to use it, as `module` or `module.name`."""

    name: str
    identifier: str
    use: str
    standard: str
    quantum: str
    imports: tuple[str, ...]


INVENTORY: Final = (
    Algorithm(
        "DHKEM(X25519, HKDF-SHA256)",
        f"HPKE KEM {KEM_X25519:#06x}",
        "file keys to epoch, worker, web and page keys",
        "RFC 9180, RFC 7748",
        "falls: recorded headers could be opened. KEM 0x647a (ML-KEM-768 with X25519) follows as a "
        "second id of the container once it is an RFC",
        (
            "cryptography.hazmat.primitives.asymmetric.x25519",
            "cryptography.hazmat.primitives.hpke",
        ),
    ),
    Algorithm(
        "HKDF-SHA256",
        f"HPKE KDF {KDF_HKDF_SHA256:#06x}",
        "payload keys, commitments, keys for each use of the account and audit keys",
        "RFC 5869",
        _HOLDS,
        (
            "cryptography.hazmat.primitives.kdf.hkdf",
            "cryptography.hazmat.primitives.hashes",
        ),
    ),
    Algorithm(
        "AES-256-GCM",
        f"HPKE AEAD {AEAD_AES_256_GCM:#06x}, alg {ALG_PATIENT}",
        "bodies of objects, file keys under patients' keys, stored keys under the master key, "
        "sealed account fields",
        "NIST SP 800-38D",
        _HOLDS,
        ("cryptography.hazmat.primitives.ciphers.aead",),
    ),
    Algorithm(
        "Ed25519",
        "Ed25519",
        "the offline root signs epoch keys",
        "RFC 8032",
        "falls: keys could be forged from then on, nothing recorded is opened. A new root signs by "
        "ML-DSA then",
        ("cryptography.hazmat.primitives.asymmetric.ed25519",),
    ),
    Algorithm(
        "HMAC-SHA256",
        "HS256",
        "audit chain, enrolment, manifests of backups, index of addresses, pseudonyms, ledger",
        "RFC 2104",
        _HOLDS,
        ("hmac",),
    ),
    Algorithm(
        "SHA-256",
        "sha256",
        "digests of objects, tokens, bundles, models; ids of master keys; fingerprint of the root",
        "FIPS 180-4",
        _NO_SECRET,
        ("hashlib",),
    ),
    Algorithm(
        "SHA-1",
        "sha1",
        "the hash of an attachment, which FHIR asks for in this form; nothing here relies on it",
        "FHIR R4 Attachment.hash",
        _NO_SECRET,
        ("hashlib",),
    ),
    Algorithm(
        "argon2id",
        "$argon2id$",
        "passwords",
        "RFC 9106",
        _HOLDS,
        ("argon2",),
    ),
    Algorithm(
        "HMAC-SHA1",
        "TOTP",
        "codes of the second factor, 30 seconds each",
        "RFC 6238",
        "holds for codes that live for seconds",
        ("pyotp",),
    ),
    Algorithm(
        "age: X25519, ChaCha20-Poly1305",
        "age-encryption.org/v1, X25519",
        "backups, emergency copies of keys",
        "c2sp.org/age",
        "falls: recorded backups could be opened. age has hybrid recipients (mlkem768x25519)",
        ("pyrage",),
    ),
    Algorithm(
        "WebAuthn signatures: ES256, RS256, EdDSA",
        "COSE -7, -257, -8",
        "passkeys",
        "W3C WebAuthn Level 3, RFC 9053",
        "falls: passkeys could be forged from then on; nothing that was recorded is opened",
        ("webauthn",),
    ),
    Algorithm(
        "TLS 1.2 and above",
        "TLS",
        "mail and record systems",
        "RFC 8446",
        "falls: recorded connections could be read; hybrid groups come with the library",
        ("ssl",),
    ),
)
