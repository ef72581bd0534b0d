"""Codes as words: what pages say for states, urgencies, classes and probabilities."""

from datetime import date, datetime

from clinic.body_site import BodyLocation, BodySite, Side
from clinic.records.models import Submission
from clinic.urgency import urgency_at
from ml.labels import CLASSES, CLINICAL_NAMES, MALIGNANT

VIEW_LABELS = {
    "overview": "From further away",
    "close_up": "Close-up",
    "dermoscopic": "Through the skin lens",
}

ENGLISH = "en"  # in which the portal itself speaks
# Languages by BCP 47, in their own names. Without texts of one a letter is English, and says so.
LANGUAGES = {
    "en": "English",
    "cy": "Cymraeg",
    "es": "Español",
    "hi": "हिन्दी",
    "pl": "Polski",
    "ar": "العربية",
}

_MEMBERS = {
    "basic_cnn": "Basic CNN",
    "efficientnet_b0": "EfficientNet-B0",
    "inception_v3": "Inception-v3",
}


def reference(submission_id: str) -> str:
    """The short case number that people read out on the phone."""
    return f"{submission_id[:4]}-{submission_id[4:8]}".upper()


def urgency_word(urgency: int | None) -> str | None:
    return None if urgency is None else str(urgency_at(urgency))


def site_words(row: Submission) -> str:
    return BodyLocation(BodySite(row.body_site), Side(row.body_side)).words


def day_words(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def is_late(row: Submission, now: datetime) -> bool:
    return row.due_at < now


def probability_words(probability: float) -> str:
    """Calibrated words for a calibrated number, as in forecasting (Mastrandrea 2010, IPCC)."""
    if probability >= 0.9:
        return "very likely"
    if probability >= 0.66:
        return "likely"
    if probability >= 0.33:
        return "about as likely as not"
    if probability >= 0.1:
        return "unlikely"
    return "very unlikely"


def class_name(label: str) -> str:
    return CLINICAL_NAMES.get(label, "Other diagnosis")


def member_name(member: str) -> str:
    """A network of the ensemble, by its name in the manifest."""
    return _MEMBERS.get(member, member)


def probability_rows(probabilities: dict[str, float]) -> list[dict[str, object]]:
    """The seven classes, most probable first."""
    ordered = sorted(CLASSES, key=lambda label: -probabilities[label])
    return [
        {
            "label": class_name(label),
            "probability": probabilities[label],
            "words": probability_words(probabilities[label]),
            "malignant": label in MALIGNANT,
        }
        for label in ordered
    ]
