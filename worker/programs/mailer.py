"""The mailer's program."""

from clinic.account_secrets import AccountSecrets
from config import Settings, needed
from worker.mailer import Mailer
from worker.programs.parts import secret, sessions_of, stop_on_signal
from worker.smtp_channel import SmtpChannel


def run(settings: Settings) -> None:
    url, sender = secret(settings.smtp_url).decode(), needed(settings.mail_from)
    box = AccountSecrets(secret(settings.account_key))
    channel = SmtpChannel(url, sender)
    Mailer(sessions_of(settings), box, channel, settings.public_url).run(stop_on_signal())
