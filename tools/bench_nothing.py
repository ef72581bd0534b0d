"""The view that does nothing: what web server and Flask alone cost, for a body of any size."""

from flask import Flask, request

_PIECE = 64 * 1024

app = Flask(__name__)


@app.get("/nothing")
def nothing() -> tuple[str, int]:
    return "", 204


@app.post("/nothing")
def nothing_of_a_body() -> tuple[str, int]:
    """Take the whole body in, as every view that accepts an upload must, and drop it."""
    while request.stream.read(_PIECE):
        pass
    return "", 202
