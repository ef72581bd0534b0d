"""Only requests for the portal's own host are answered; the rest name a host that is not ours.

A foreign host means a name that somebody points at this machine (DNS rebinding), or a forged
header that would end in an address of ours. Source: OWASP ASVS 5.0.0, 4.1.
"""

from urllib.parse import urlsplit

from flask import Flask, abort, request

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def own_hosts(public_url: str) -> frozenset[str]:
    """The host of the public address; where that is this machine, by each of its names."""
    host = urlsplit(public_url).hostname or ""
    return _LOOPBACK if host in _LOOPBACK else frozenset({host})


def init_trusted_host(app: Flask, *, public_url: str) -> None:
    """Register before whatever looks at the request. Health is asked for from inside, by address.

    The host is that of the Host header alone; X-Forwarded-Host is never looked at.
    """
    own = own_hosts(public_url)

    @app.before_request
    def _refuse_other_hosts() -> None:
        if request.blueprint != "health" and _hostname(request.host) not in own:
            abort(400, "This address does not belong to this service. Use the address you know.")


def _hostname(host: str) -> str | None:
    """Werkzeug has checked the characters; what it refused is the empty string."""
    return urlsplit(f"//{host}").hostname
