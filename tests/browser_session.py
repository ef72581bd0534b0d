"""A person's browser over Flask's test client: forms with their CSRF token, real sign-in."""

import re
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from clinic.records import accounts
from clinic.records.models import Account
from tests.world import Person, World

TOKEN = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@dataclass
class BrowserSession:
    client: FlaskClient
    token: str | None = None

    @classmethod
    def of(cls, app: Flask, world: World, person: Person) -> "BrowserSession":
        """Signed in with every factor, through a login session of the database."""
        with world.sessions() as session, session.begin():
            account = session.get_one(Account, person.account_id)
            token = accounts.start_login(session, account, second_factor=True)
        client = app.test_client()
        with client.session_transaction() as cookie:
            cookie["_user_id"] = token
            cookie["_fresh"] = True
        return cls(client)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.client.get(path, **kwargs)

    def post(self, path: str, data: dict[str, Any] | None = None, **kwargs: Any) -> TestResponse:
        """Send a form with a valid CSRF token."""
        fields = {**(data or {}), "csrf_token": self.csrf_token()}
        return self.client.post(path, data=fields, **kwargs)

    def csrf_token(self) -> str:
        """The token of this browser, as any page with a form carries it."""
        if self.token is None:
            found = TOKEN.search(self.client.get("/account").text)
            assert found is not None, "the account page carries no form"
            self.token = found.group(1)
        return self.token
