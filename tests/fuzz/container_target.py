"""The target of the coverage-guided fuzzer: whoever has no key parses, whoever has one opens.

Run it by `python -m tests.fuzz.container_target FOLDER -runs=100000` (the options are libFuzzer's);
FOLDER gets every input that reached new code. Source: https://github.com/google/atheris
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["clinic.container", "clinic.envelope"]):
    from clinic.envelope import (
        Context,
        EnvelopeError,
        PublicKey,
        Recipient,
        open_body,
        parse_container,
        seal,
        unwrap,
        unwrap_with_key,
        wrap_with_key,
    )

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

KID, PATIENT_KID = "epoch-fuzz", "patient-fuzz"
PRIVATE = X25519PrivateKey.from_private_bytes(b"k" * 32)
PATIENT_KEY = b"p" * 32
LENGTH_SIZE = 4


def seeds() -> list[bytes]:
    """Whole containers: of nothing, of a text, of two recipients, of more than one chunk."""
    context = Context(submission="0123456789abcdef", slot=1, type="photo")
    recipient = PublicKey(kid=KID, raw=PRIVATE.public_key().public_bytes_raw())
    plain = [seal(data, context=context, recipients=[recipient]) for data in (b"", b"text")]
    header = plain[1].header
    file_key = unwrap(header, kid=KID, private_key=PRIVATE)
    patient = wrap_with_key(header, file_key, kid=PATIENT_KID, key=PATIENT_KEY)
    both = type(plain[1])(header=header.adding(patient), body=plain[1].body)
    return [one.to_bytes() for one in (*plain, both)]


def try_one(data: bytes) -> None:
    """A refusal is an EnvelopeError; what is accepted is written again as it was read."""
    try:
        sealed = parse_container(data)
    except EnvelopeError:
        return
    again = parse_container(sealed.to_bytes())
    if (again.header, again.body) != (sealed.header, sealed.body):
        raise AssertionError("a container changed between two readings")
    for recipient in sealed.header.recipients:
        _try_to_open(recipient, sealed)


def _try_to_open(recipient: Recipient, sealed: object) -> None:
    header, body = sealed.header, sealed.body
    try:
        if recipient.kem is None:
            file_key = unwrap_with_key(header, kid=recipient.kid, key=PATIENT_KEY)
        else:
            file_key = unwrap(header, kid=recipient.kid, private_key=PRIVATE)
        open_body(header, body, file_key=file_key, expected=header.context)
    except EnvelopeError:
        return


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Half of the changes keep the header's length true, or hardly one would get past it."""
    if seed % 2:
        return bytes(atheris.Mutate(data, max_size))
    length = int.from_bytes(data[:LENGTH_SIZE], "big")
    header, body = data[LENGTH_SIZE : LENGTH_SIZE + length], data[LENGTH_SIZE + length :]
    header = bytes(atheris.Mutate(header, max(1, max_size - LENGTH_SIZE - len(body))))
    return (len(header).to_bytes(LENGTH_SIZE, "big") + header + body)[:max_size]


def main() -> None:
    folder = Path(sys.argv[1])
    for number, seed in enumerate(seeds()):
        (folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup(sys.argv, try_one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
