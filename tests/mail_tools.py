"""Mail in tests: a channel that keeps what it is given, and the mailer that fills it."""

import re
from dataclasses import dataclass, field

from clinic.notices import DeliveryError, Message
from tests.world import World
from worker.mailer import Mailer

LINK = re.compile(r"http://localhost(/\S+)")


@dataclass
class KeptMail:
    """A channel that keeps every mail; while it is `broken`, it takes none."""

    sent: list[tuple[str, Message]] = field(default_factory=list)
    broken: bool = False

    def deliver(self, address: str, message: Message) -> None:
        if self.broken:
            raise DeliveryError("SMTPServerDisconnected")
        self.sent.append((address, message))

    def last_link(self) -> str:
        """The path of the link in the newest mail."""
        found = LINK.search(self.sent[-1][1].text)
        assert found is not None, "the mail has no link"
        return found.group(1)


def mailer_of(world: World, channel: KeptMail) -> Mailer:
    return Mailer(world.sessions, world.secrets, channel, "http://localhost")
