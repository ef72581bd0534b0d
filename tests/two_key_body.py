"""A body that opens under two keys, both tags valid: what the commitment is against.

GCM's authentication is a polynomial that an attacker who knows both keys can solve for one free
block, so that both tags come out the same (Dodis and others, CRYPTO 2018; eprint 2019/016).
"""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB


def gf_multiply(x: int, y: int) -> int:
    product = 0
    for bit in range(127, -1, -1):
        if (y >> bit) & 1:
            product ^= x
        x = (x >> 1) ^ (0xE1 << 120) if x & 1 else x >> 1
    return product


def gf_invert(x: int) -> int:
    result, power = 1 << 127, x
    for _ in range(127):
        power = gf_multiply(power, power)
        result = gf_multiply(result, power)
    return result


def block_cipher(key: bytes, block: bytes) -> int:
    return int.from_bytes(Cipher(AES(key), ECB()).encryptor().update(block), "big")


def body_with_two_keys(first: bytes, second: bytes) -> bytes:
    """One chunk of two blocks with a tag that is right under both payload keys."""
    nonce = bytes(11) + b"\x01"
    block, bits = int.from_bytes(b"two pictures now", "big"), 256
    h1, h2 = (block_cipher(key, bytes(16)) for key in (first, second))
    m1, m2 = (block_cipher(key, nonce + b"\0\0\0\1") for key in (first, second))
    square1, square2 = gf_multiply(h1, h1), gf_multiply(h2, h2)
    cubes = gf_multiply(square1, h1) ^ gf_multiply(square2, h2)
    wanted = gf_multiply(block, cubes) ^ gf_multiply(bits, h1 ^ h2) ^ m1 ^ m2
    free = gf_multiply(wanted, gf_invert(square1 ^ square2))
    tag = gf_multiply(block, gf_multiply(square1, h1)) ^ gf_multiply(free, square1)
    tag ^= gf_multiply(bits, h1) ^ m1
    return b"".join(part.to_bytes(16, "big") for part in (block, free, tag))
