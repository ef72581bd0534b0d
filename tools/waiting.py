"""Waiting for a server that was just started."""

import time

import httpx

PATIENCE_SECONDS = 30.0


def await_answer(url: str) -> None:
    """Ask until an answer comes, whatever it says.

    Raises:
        TimeoutError: none came in time.

    """
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        try:
            httpx.get(url, timeout=2, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"{url} does not answer after {PATIENCE_SECONDS:.0f} s.")
