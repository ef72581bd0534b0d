"""How often a person may try: counted in the broker's store, in memory while that is down."""

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

limiter = Limiter(get_remote_address, default_limits=[])

SIGN_IN_PER_ADDRESS = "30/minute"
SIGN_IN_PER_ACCOUNT = "10/minute"
UPLOADS_PER_ACCOUNT = "20/minute"
EXPORTS_PER_ACCOUNT = "20/hour"


def init_rate_limits(app: Flask, storage_url: str) -> None:
    app.config.update(
        RATELIMIT_STORAGE_URI=storage_url,
        RATELIMIT_IN_MEMORY_FALLBACK_ENABLED=True,
        RATELIMIT_SWALLOW_ERRORS=False,
        RATELIMIT_HEADERS_ENABLED=False,
    )
    if storage_url.startswith("redis"):
        app.config["RATELIMIT_STORAGE_OPTIONS"] = {
            "socket_connect_timeout": 0.3,
            "socket_timeout": 0.5,
        }
    limiter.init_app(app)
