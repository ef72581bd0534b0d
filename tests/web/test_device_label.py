"""Browsers in words: coarse enough to tell nobody apart, fine enough to know one's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web.device_label import device_label

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15"
SEEN = [
    (f"{WINDOWS} Chrome/142.0.0.0 Safari/537.36", "Chrome on Windows"),
    (f"{WINDOWS} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0", "Edge on Windows"),
    (f"{WINDOWS} Chrome/142.0.0.0 Safari/537.36 OPR/120.0.0.0", "Opera on Windows"),
    (f"{PHONE} Version/18.1 Mobile/15E148 Safari/604.1", "Safari on iPhone"),
    (f"{PHONE} CriOS/142.0 Mobile/15E148 Safari/604.1", "Chrome on iPhone"),
    (f"{PHONE} FxiOS/144.0 Mobile/15E148 Safari/605.1.15", "Firefox on iPhone"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0", "Firefox on Linux"),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18 Safari/605.1.15", "Safari on Mac"),
    ("Mozilla/5.0 (Linux; Android 16) SamsungBrowser/28 Chrome/130 Safari/537.36",
     "Samsung Internet on Android"),
    ("python-httpx/0.28.1", "A browser on another system"),
    ("", "A browser on another system"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "words"), SEEN)
def test_a_header_becomes_a_browser_and_a_system(header: str, words: str) -> None:
    assert device_label(header) == words


@given(st.text(max_size=300))
def test_any_header_fits_the_column_and_none_is_quoted(header: str) -> None:
    assert len(device_label(header)) <= 60
    assert device_label(f"{header} 8731.55") == device_label(header)
