"""The clinics of this installation: made, changed, closed, and found by their address."""

import re
import unicodedata
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.records.db import database_now
from clinic.records.models import Clinic

SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_LONGEST_SLUG: Final = 40


class ClinicNotFoundError(Exception):
    """No clinic is meant, or none with this address exists; the message says what to do."""


class SlugError(Exception):
    """The address is taken, or is none; the message says so."""


def slug_of(name: str) -> str:
    """A name as a part of an address: `St. Mary's Skin Clinic` becomes `st-mary-s-skin-clinic`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall("[a-z0-9]+", plain))[:_LONGEST_SLUG].strip("-")


def create(session: Session, *, name: str, phone: str, time_zone: str, slug: str) -> Clinic:
    """Make a clinic whose address is `slug`, for good: it is printed on letters.

    Raises:
        SlugError: that is no address, or another clinic's.

    """
    if not SLUG.fullmatch(slug) or len(slug) > _LONGEST_SLUG:
        raise SlugError(
            f"{slug!r} is no address: use small letters, digits and single hyphens, "
            f"{_LONGEST_SLUG} at most."
        )
    if by_slug(session, slug) is not None:
        raise SlugError(f"There is a clinic with the address {slug} already.")
    clinic = Clinic(name=name, phone=phone, time_zone=time_zone, slug=slug)
    session.add(clinic)
    session.flush()
    return clinic


def every(session: Session) -> list[Clinic]:
    return list(session.scalars(select(Clinic).order_by(Clinic.name)))


def open_ones(session: Session) -> list[Clinic]:
    """The clinics that take new patients and new cases, by name."""
    return [clinic for clinic in every(session) if clinic.closed_at is None]


def by_slug(session: Session, slug: str) -> Clinic | None:
    return session.scalar(select(Clinic).where(Clinic.slug == slug))


def chosen(session: Session, slug: str | None) -> Clinic:
    """The clinic with this address; without one the only clinic that there is.

    Raises:
        ClinicNotFoundError: there is none, or it is not clear which one is meant.

    """
    known = every(session)
    if not known:
        raise ClinicNotFoundError("No clinic exists yet: run `flask clinics create`.")
    meant = [clinic for clinic in known if slug in {None, clinic.slug}]
    if len(meant) == 1:
        return meant[0]
    slugs = ", ".join(clinic.slug for clinic in known)
    if slug is None:
        raise ClinicNotFoundError(f"There are several clinics: name one with --clinic ({slugs}).")
    raise ClinicNotFoundError(f"There is no clinic with the address {slug}, but: {slugs}.")


def close(session: Session, clinic: Clinic) -> None:
    """Take no new patients and no new cases; what is there is read to its end."""
    clinic.closed_at = database_now(session)
    session.flush()
