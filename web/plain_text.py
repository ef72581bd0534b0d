"""What people send is text: a NUL in an address, a query or a form is refused at the door.

PostgreSQL cannot store it, so it would end as a failure of ours deep inside.
"""

from collections.abc import Iterator

from flask import Flask, abort, request


def init_plain_text(app: Flask) -> None:
    @app.before_request
    def _refuse_nul() -> None:
        if any("\0" in text for text in _texts()):
            abort(400, "This was damaged on its way. Load the page again and send it once more.")


def _texts() -> Iterator[str]:
    yield request.path
    for fields in (request.args, request.form):
        for name, value in fields.items(multi=True):
            yield name
            yield value
