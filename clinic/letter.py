"""Letters as templates: a Markdown text with its author, reviewer and date, and fields to fill in.

    ---
    version: 1
    author: ...
    translator: ... (where it is a translation)
    reviewer: ...
    date: 2026-11-23
    ---
    Dear {patient},

A paragraph that names an empty field is left out, so that one text serves with and without it.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

_HEAD: Final = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_FIELD: Final = re.compile(r"\{(\w+)\}")
FIELDS: Final = frozenset(
    {"patient", "doctor", "registration", "clinic", "phone", "site", "place", "case", "today"}
    | {"diagnosis", "plain_diagnosis", "code", "confidence", "follow_up", "note"}
)


def language_of(label: str | None) -> str | None:
    """The language of a letter that began as the template of this label (BCP 47)."""
    return label.split("/", 1)[0] if label else None


def text_mark(text: str) -> str:
    """Tells an untouched text from an edited one; browsers send line ends of their own."""
    plain = "\n".join(text.strip().splitlines())
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


class LetterError(Exception):
    """A template does not follow its form; the message says what is wrong."""


@dataclass(frozen=True)
class LetterTemplate:
    """`language` is that of the text, which may not be the one that was asked for."""

    language: str
    name: str
    version: int
    author: str
    reviewer: str
    date: date
    body: str

    @property
    def label(self) -> str:
        """What a signed report keeps of the text that it began with."""
        return f"{self.language}/{self.name} {self.version}"

    def filled(self, fields: Mapping[str, str]) -> str:
        """The letter. `fields` names all of FIELDS; an empty one takes its paragraph with it."""
        paragraphs = self.body.strip().split("\n\n")
        kept = [one for one in paragraphs if all(fields[name] for name in _FIELD.findall(one))]
        return "\n\n".join(_FIELD.sub(lambda found: fields[found[1]], one) for one in kept)


def parse_template(text: str, *, language: str, name: str) -> LetterTemplate:
    """Read a template.

    Raises:
        LetterError: a line of the head is missing or wrong, or a field is unknown.

    """
    head = _HEAD.match(text)
    if head is None:
        raise LetterError(f"{language}/{name} does not begin with its head")
    lines = dict(line.split(": ", 1) for line in head[1].splitlines() if ": " in line)
    body = text[head.end() :]
    unknown = set(_FIELD.findall(body)) - FIELDS
    if unknown:
        raise LetterError(f"{language}/{name} names unknown fields: {', '.join(sorted(unknown))}")
    try:
        return LetterTemplate(
            language,
            name,
            int(lines["version"]),
            lines["author"],
            lines["reviewer"],
            date.fromisoformat(lines["date"]),
            body,
        )
    except (KeyError, ValueError) as error:
        raise LetterError(f"{language}/{name}: the head is not complete ({error})") from error
