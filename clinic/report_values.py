"""What a report to an electronic health record is made of: plain values, no rows and no FHIR."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from clinic.terminology import (
    BODY_SITES,
    LESION_CLASSES,
    MANAGEMENT_PLANS,
    PATIENT_IDENTIFIER_SYSTEM,
)

OTHER_DIAGNOSIS = "other"

Sex = Literal["female", "male", "other", "unknown"]
Laterality = Literal["left", "right", "midline"]
View = Literal["overview", "close_up", "dermoscopic"]
VIEW_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "overview": "Overview photo",
        "close_up": "Close-up photo",
        "dermoscopic": "Dermoscopic photo",
    }
)


class ReportStatus(StrEnum):
    """Where the report stands; the values but the first are FHIR's own words."""

    UNSIGNED = "unsigned"
    FINAL = "final"
    AMENDED = "amended"
    CORRECTED = "corrected"
    APPENDED = "appended"  # something was added, nothing that stood there changed
    ENTERED_IN_ERROR = "entered-in-error"


class NotSignedError(Exception):
    """The case has no signed finding, so nothing of it may leave the house."""


@dataclass(frozen=True, kw_only=True)
class Identifier:
    value: str
    system: str = PATIENT_IDENTIFIER_SYSTEM


@dataclass(frozen=True, kw_only=True)
class PatientValues:
    id: str
    identifiers: tuple[Identifier, ...]
    family: str
    given: tuple[str, ...] = ()
    birth_date: date | None = None
    sex: Sex = "unknown"

    def __post_init__(self) -> None:
        if not self.identifiers:
            raise ValueError("A patient needs an identifier by which the receiver can match.")
        if not self.family.strip():
            raise ValueError("A patient needs a family name; a single name counts as one.")


@dataclass(frozen=True, kw_only=True)
class PractitionerValues:
    id: str
    registration: Identifier
    family: str
    given: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OrganizationValues:
    id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class CaseValues:
    """`body_site` is a key of BODY_SITES; `body_site_text` is what the patient added to it."""

    id: str
    submitted_at: datetime
    body_site: str
    body_site_text: str | None = None
    laterality: Laterality | None = None

    def __post_init__(self) -> None:
        if self.body_site not in BODY_SITES:
            raise ValueError(f"Unknown body site {self.body_site!r}.")


@dataclass(frozen=True, kw_only=True)
class PhotoValues:
    """`size` in bytes and `sha1` (20 raw bytes) are those of the picture in clear, if known."""

    id: str
    view: View
    content_type: str
    created_at: datetime
    size: int | None = None
    sha1: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class ScreeningValues:
    """`probabilities` are calibrated and name all seven classes; `reasons` are plain words."""

    probabilities: Mapping[str, float]
    top_class: str
    urgency: str
    reasons: tuple[str, ...]
    model_version: str
    model_fingerprint: str
    analysed_at: datetime

    def __post_init__(self) -> None:
        if set(self.probabilities) != set(LESION_CLASSES):
            raise ValueError("A screening names each of the seven classes once.")
        if self.top_class not in LESION_CLASSES:
            raise ValueError(f"Unknown lesion class {self.top_class!r}.")
        if not all(0.0 <= p <= 1.0 for p in self.probabilities.values()):
            raise ValueError("A probability lies between 0 and 1.")


@dataclass(frozen=True, kw_only=True)
class FindingValues:
    """`diagnosis` is a lesion class or `other`, which needs `diagnosis_text`."""

    diagnosis: str
    plan: str
    confidence: str
    clinical_text: str
    patient_text: str
    diagnosis_text: str | None = None
    icd10: str | None = None

    def __post_init__(self) -> None:
        if self.diagnosis != OTHER_DIAGNOSIS and self.diagnosis not in LESION_CLASSES:
            raise ValueError(f"Unknown diagnosis {self.diagnosis!r}.")
        if self.diagnosis == OTHER_DIAGNOSIS and not (self.diagnosis_text or "").strip():
            raise ValueError("Another diagnosis needs a text.")
        if self.plan not in MANAGEMENT_PLANS:
            raise ValueError(f"Unknown management plan {self.plan!r}.")

    @property
    def lesion_class(self) -> str | None:
        return None if self.diagnosis == OTHER_DIAGNOSIS else self.diagnosis

    @property
    def name(self) -> str:
        """The reader's own words where there are some, else the name of the class."""
        own = (self.diagnosis_text or "").strip()
        return own or LESION_CLASSES[self.diagnosis].display


@dataclass(frozen=True, kw_only=True)
class ReportValues:
    """`screening` is None when the AI was unavailable; `version` is 1 and grows by amendments."""

    patient: PatientValues
    practitioner: PractitionerValues
    organization: OrganizationValues
    case: CaseValues
    photos: tuple[PhotoValues, ...]
    screening: ScreeningValues | None
    finding: FindingValues | None
    signed_at: datetime | None
    status: ReportStatus
    version: int = 1


@dataclass(frozen=True)
class SignOff:
    finding: FindingValues
    at: datetime
    status: ReportStatus


def require_signed(values: ReportValues) -> SignOff:
    """Raise NotSignedError unless a dermatologist has signed; half-signed counts as unsigned."""
    if values.status is ReportStatus.UNSIGNED or values.finding is None or values.signed_at is None:
        raise NotSignedError("Only a signed case becomes a report.")
    if (values.status is ReportStatus.FINAL) != (values.version == 1) and (
        values.status is not ReportStatus.ENTERED_IN_ERROR
    ):
        raise ValueError("Version 1 is final; later versions are amended, corrected or appended.")
    return SignOff(values.finding, values.signed_at, values.status)
