"""Values that break programs, for Hypothesis to mix with its own."""

from hypothesis import strategies as st

KNOWN_BAD = (
    "",
    " ",
    "\0",
    "a\0b",
    "\r\nX-Injected: 1",
    "-1",
    "0",
    "1e999",
    "nan",
    "Infinity",
    "9" * 30,
    "9" * 5000,
    "99999999999999999999999999999999999999999999999999",
    "٣٤٥",
    "²",
    "true",
    "null",
    "None",
    "[]",
    "{}",
    "[" * 3000,
    '{"a":' * 500,
    "' OR 1=1 --",
    "%' OR '%'='",
    "\\",
    "%",
    "_",
    "%00",
    "%s%s%n",
    "{{7*7}}",
    "${7*7}",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "//evil.example",
    "/\\evil.example",
    "https://evil.example/",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "file:///etc/passwd",
    "A" * 10_000,
    "é" * 500,
    "\u202egnp.exe",
    "\u200b",
    "\ufeff",
    "\ufffd",
    "a\u0301" * 200,
    "😀" * 100,
    "0001-01-01",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:60Z",
    "2026-02-30",
    "MTIz",
    "W10=",
    "a" * 32,
    "0" * 32,
    "0" * 31,
)

texts = st.one_of(
    st.sampled_from(KNOWN_BAD),
    st.text(max_size=60),
    st.integers().map(str),
    st.floats().map(str),
    st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")),
)

# Without the bytes that no client library would let through, and without lone surrogates.
header_values = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=80
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
