"""The mail channel against a real SMTP server: always inside TLS, never without."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from clinic.notices import DeliveryError, Message
from tools.ports import free_port
from tools.secrets_folder import self_signed
from worker.smtp_channel import SmtpChannel

# The server of the test cannot know that its connection is inside TLS from the first byte.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

MESSAGE = Message("Your password was changed", "Hello,\n\nall is well. Grüße\n")


@dataclass
class Mailbox:
    """What the server took, and how it was reached."""

    controller: Controller
    trusting: ssl.SSLContext
    mails: list[Any]

    def url(self, scheme: str = "smtp", who: str = "dermqueue:pass%20word@") -> str:
        return f"{scheme}://{who}localhost:{self.controller.port}"


@dataclass
class Handler:
    mails: list[Any] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if envelope.rcpt_tos == ["full@example.org"]:
            return "452 The mailbox of full@example.org is full"
        self.mails.append(envelope)
        return "250 OK"


def right(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    known = isinstance(data, LoginPassword) and data == LoginPassword(b"dermqueue", b"pass word")
    return AuthResult(success=known, handled=known)


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, with a certificate of its own, and one that trusts that certificate."""
    certificate, key = self_signed("localhost")
    for name, text in (("cert.pem", certificate), ("key.pem", key)):
        (folder / name).write_text(text)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return serving, ssl.create_default_context(cafile=folder / "cert.pem")


@pytest.fixture(params=["smtp", "smtps"])
def mailbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mailbox]:
    serving, trusting = contexts(tmp_path)
    handler = Handler()
    how: dict[str, Any] = {"tls_context": serving, "require_starttls": True}
    if request.param == "smtps":
        how = {"ssl_context": serving, "auth_require_tls": False}
    controller = Controller(
        handler,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=right,
        auth_required=True,
        **how,
    )
    controller.start()
    yield Mailbox(controller, trusting, handler.mails)
    controller.stop()


@pytest.fixture
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["mailbox"])


def test_a_mail_arrives_with_its_words_and_asks_for_no_answer(
    mailbox: Mailbox, scheme: str
) -> None:
    channel = SmtpChannel(mailbox.url(scheme), "no-reply@derm.example", mailbox.trusting)

    channel.deliver("alice@example.org", MESSAGE)

    (envelope,) = mailbox.mails
    text = envelope.content.decode()
    assert envelope.rcpt_tos == ["alice@example.org"]
    assert envelope.mail_from == "no-reply@derm.example"
    assert "Subject: Your password was changed" in text
    assert "Auto-Submitted: auto-generated" in text
    assert "@derm.example>" in text, "the id names no host of ours"


def test_a_server_that_cannot_be_trusted_gets_nothing(mailbox: Mailbox, scheme: str) -> None:
    with pytest.raises(DeliveryError):
        SmtpChannel(mailbox.url(scheme), "a@b.example").deliver("alice@example.org", MESSAGE)
    assert mailbox.mails == []


def test_a_refusal_is_told_without_the_address(mailbox: Mailbox, scheme: str) -> None:
    right_one = SmtpChannel(mailbox.url(scheme), "a@b.example", mailbox.trusting)
    wrong_one = SmtpChannel(mailbox.url(scheme, "who:what@"), "a@b.example", mailbox.trusting)

    with pytest.raises(DeliveryError) as full:
        right_one.deliver("full@example.org", MESSAGE)
    with pytest.raises(DeliveryError) as stranger:
        wrong_one.deliver("alice@example.org", MESSAGE)
    with pytest.raises(DeliveryError):
        right_one.deliver("a@b.example\nBcc: c@d.example", MESSAGE)

    assert str(full.value) == "SMTPDataError 452"
    assert str(stranger.value).startswith("SMTPAuthenticationError")
    assert mailbox.mails == []


def test_a_server_that_is_away_is_a_reason_and_no_crash() -> None:
    channel = SmtpChannel(f"smtp://a:b@127.0.0.1:{free_port()}", "a@b.example")

    with pytest.raises(DeliveryError, match="ConnectionRefusedError"):
        channel.deliver("alice@example.org", MESSAGE)


@pytest.mark.parametrize("words", [repr, str])
def test_the_servers_password_never_shows(words: Any) -> None:
    assert "hunter2" not in words(SmtpChannel("smtp://a:hunter2@b.example", "a@b.example"))
