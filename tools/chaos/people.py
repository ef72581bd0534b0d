"""People with a browser: patients who register, a dermatologist at the desk."""

import secrets

from clinic.access import Role
from tools import installation as setup
from tools.chaos import canary
from tools.portal_client import PortalClient
from tools.running import Running


class Patient(PortalClient):
    """A patient's browser; the password is the same for all."""

    def __init__(self, base_url: str, email: str) -> None:
        super().__init__(base_url)
        self._email = email

    def sign_in_again(self) -> None:
        self.sign_in(self._email, canary.PASSWORD)


def new_patient(running: Running) -> Patient:
    """Somebody who registers over HTTP; name and password are markers."""
    email = f"patient-{secrets.token_hex(4)}@chaos.invalid"
    browser = Patient(running.installation.base_url, email)
    form = {
        "email": email,
        "password": canary.PASSWORD,
        "given_name": "Ada",
        "family_name": canary.FAMILY_NAME,
        "birth_date-day": "27",
        "birth_date-month": "3",
        "birth_date-year": "1985",
        "consent_care": "y",
        "consent_teledermatology": "y",
        "consent_ai": "permit",
    }
    browser.post("/register", form, page=browser.get("/register"))
    return browser


def new_desk(running: Running) -> PortalClient:
    """The dermatologist, signed in by a one-time link of the demo installation."""
    person = running.people[Role.DERMATOLOGIST]
    (link,) = setup.sign_in_links(running.installation, [person]).values()
    path = link.removeprefix(running.installation.public_url)
    browser = PortalClient(running.installation.base_url)
    browser.post(path, {}, page=browser.get(path))
    return browser
