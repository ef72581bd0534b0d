"""The channel that carries notices as mail: SMTP, always inside TLS."""

import smtplib
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

from clinic.notices import DeliveryError, Message

TIMEOUT_SECONDS = 20
PORTS = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class SmtpChannel:
    """`url` is smtp:// for STARTTLS (RFC 3207), smtps:// for TLS from the first byte (RFC 8314)."""

    url: str = field(repr=False)
    sender: str
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)

    def deliver(self, address: str, message: Message) -> None:
        try:
            with self._connected() as server:
                self._sign_in(server)
                server.send_message(self._mail(address, message))
        except (smtplib.SMTPException, OSError, UnicodeError, ValueError) as error:
            # The text of the error may quote the address; its kind and the server's code do not.
            code = getattr(error, "smtp_code", "")
            raise DeliveryError(f"{type(error).__name__} {code}".strip()) from error

    def _connected(self) -> smtplib.SMTP:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        if parts.scheme == "smtps":
            return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=self.context)
        return smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)

    def _sign_in(self, server: smtplib.SMTP) -> None:
        parts = urlsplit(self.url)
        if parts.scheme == "smtp":
            server.starttls(context=self.context)
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))

    def _mail(self, address: str, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, address, message.subject
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer by a machine
        mail.set_content(message.text)
        return mail
