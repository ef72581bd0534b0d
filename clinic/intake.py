"""The patient's history: its fields, the weighted 7-point score, the urgent route, stop rules.

The score and its weights are the weighted 7-point checklist that NICE names for suspected
melanoma (NG12): 3 points or more lead to the urgent route.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self, TypeVar

from clinic.body_site import BodyLocation, BodySite, Side

ADULT_AGE = 18
URGENT_SCORE = 3
MAX_SPOTS = 2
OLDEST_AGE = 120
MAX_TEXT_LENGTH = 2000
HISTORY_VERSION = 1

_Member = TypeVar("_Member", bound=StrEnum)


class Answer(StrEnum):
    """An answer of "don't know" is a value of its own: it scores nothing, the reader sees it."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        return {"yes": "yes", "no": "no", "unknown": "don't know"}[self.value]


class Sex(StrEnum):
    FEMALE = "female"
    MALE = "male"
    OTHER = "other"
    UNDISCLOSED = "undisclosed"

    @property
    def label(self) -> str:
        return "not said" if self is Sex.UNDISCLOSED else self.value


class SkinType(StrEnum):
    """Fitzpatrick skin type as the patient describes it."""

    I = "I"  # noqa: E741
    II = "II"
    III = "III"
    IV = "IV"
    V = "V"
    VI = "VI"
    UNDISCLOSED = "undisclosed"

    @property
    def label(self) -> str:
        return "not said" if self is SkinType.UNDISCLOSED else f"type {self.value}"


class Onset(StrEnum):
    WEEKS = "weeks"
    MONTHS = "months"
    YEAR_OR_MORE = "year_or_more"
    SINCE_BIRTH = "since_birth"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        return _ONSET_LABELS[self]


_ONSET_LABELS = {
    Onset.WEEKS: "less than 1 month",
    Onset.MONTHS: "1 to 12 months",
    Onset.YEAR_OR_MORE: "more than 1 year",
    Onset.SINCE_BIRTH: "since birth",
    Onset.UNKNOWN: "don't know",
}


class SevenPoint(StrEnum):
    CHANGE_IN_SIZE = "change_in_size"
    IRREGULAR_SHAPE = "irregular_shape"
    IRREGULAR_COLOUR = "irregular_colour"
    DIAMETER_7_MM = "diameter_7_mm"
    INFLAMMATION = "inflammation"
    OOZING = "oozing"
    CHANGE_IN_SENSATION = "change_in_sensation"

    @property
    def label(self) -> str:
        return "diameter 7 mm or more" if self is SevenPoint.DIAMETER_7_MM else _words(self)


POINTS: Mapping[SevenPoint, int] = MappingProxyType(
    {
        SevenPoint.CHANGE_IN_SIZE: 2,
        SevenPoint.IRREGULAR_SHAPE: 2,
        SevenPoint.IRREGULAR_COLOUR: 2,
        SevenPoint.DIAMETER_7_MM: 1,
        SevenPoint.INFLAMMATION: 1,
        SevenPoint.OOZING: 1,
        SevenPoint.CHANGE_IN_SENSATION: 1,
    }
)


class Symptom(StrEnum):
    BLEEDING = "bleeding"
    NOT_HEALING_4_WEEKS = "not_healing_4_weeks"
    FIRM_GROWING_LUMP = "firm_growing_lump"
    PINK_AND_CHANGING = "pink_and_changing"
    NEW_NAIL_STREAK = "new_nail_streak"

    @property
    def label(self) -> str:
        if self is Symptom.NOT_HEALING_4_WEEKS:
            return "not healing for more than 4 weeks"
        return _words(self)


# Bleeding alone does not make a spot urgent: a scratched harmless spot bleeds too.
URGENT_SYMPTOMS = frozenset(Symptom) - {Symptom.BLEEDING}


class EmergencySign(StrEnum):
    RASH_WITH_FEVER = "rash_with_fever"
    BLISTERS = "blisters"
    EYES_OR_MOUTH = "eyes_or_mouth"
    SWOLLEN_FACE = "swollen_face"

    @property
    def label(self) -> str:
        return _EMERGENCY_LABELS[self]


_EMERGENCY_LABELS = {
    EmergencySign.RASH_WITH_FEVER: "a rash with a fever",
    EmergencySign.BLISTERS: "blisters or skin that peels off over a large area",
    EmergencySign.EYES_OR_MOUTH: "a rash with sore eyes or a sore mouth",
    EmergencySign.SWOLLEN_FACE: "a swollen face, lips or tongue",
}


@dataclass(frozen=True, kw_only=True)
class History:
    """What a patient tells about one spot. `age` in whole years; free texts may be empty."""

    age: int
    sex: Sex
    skin_type: SkinType
    location: BodyLocation
    onset: Onset
    seven_point: Mapping[SevenPoint, Answer]
    symptoms: Mapping[Symptom, Answer]
    own_skin_cancer: Answer
    family_skin_cancer: Answer
    immunosuppressed: Answer
    emergency_signs: frozenset[EmergencySign] = frozenset()
    spot_count: int = 1
    can_be_photographed: bool = True
    responsible_adult: str = ""
    medicines: str = ""
    strong_concern: str = ""
    notes: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seven_point", MappingProxyType(dict(self.seven_point)))
        object.__setattr__(self, "symptoms", MappingProxyType(dict(self.symptoms)))

    @property
    def score(self) -> int:
        return seven_point_score(self.seven_point)

    @property
    def unknown_answers(self) -> tuple[SevenPoint | Symptom, ...]:
        return unknown_answers(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values under a version number."""
        return {
            "version": HISTORY_VERSION,
            "age": self.age,
            "sex": self.sex.value,
            "skin_type": self.skin_type.value,
            "site": self.location.site.value,
            "side": self.location.side.value,
            "site_detail": self.location.detail,
            "onset": self.onset.value,
            "seven_point": {item.value: answer.value for item, answer in self.seven_point.items()},
            "symptoms": {sign.value: answer.value for sign, answer in self.symptoms.items()},
            "own_skin_cancer": self.own_skin_cancer.value,
            "family_skin_cancer": self.family_skin_cancer.value,
            "immunosuppressed": self.immunosuppressed.value,
            "emergency_signs": sorted(sign.value for sign in self.emergency_signs),
            "spot_count": self.spot_count,
            "can_be_photographed": self.can_be_photographed,
            "responsible_adult": self.responsible_adult,
            "medicines": self.medicines,
            "strong_concern": self.strong_concern,
            "notes": self.notes,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Undo `to_dict`; raises HistoryInvalid with one sentence per wrong field."""
        read = _FieldReader(raw)
        read.version()
        history = cls(
            age=read.whole_number("age", lowest=0, highest=OLDEST_AGE),
            sex=read.choice("sex", Sex),
            skin_type=read.choice("skin_type", SkinType),
            location=BodyLocation(
                site=read.choice("site", BodySite),
                side=read.choice("side", Side),
                detail=read.text("site_detail"),
            ),
            onset=read.choice("onset", Onset),
            seven_point=read.answers("seven_point", SevenPoint),
            symptoms=read.answers("symptoms", Symptom),
            own_skin_cancer=read.choice("own_skin_cancer", Answer),
            family_skin_cancer=read.choice("family_skin_cancer", Answer),
            immunosuppressed=read.choice("immunosuppressed", Answer),
            emergency_signs=read.choices("emergency_signs", EmergencySign),
            spot_count=read.whole_number("spot_count", lowest=1, highest=99),
            can_be_photographed=read.flag("can_be_photographed"),
            responsible_adult=read.text("responsible_adult"),
            medicines=read.text("medicines"),
            strong_concern=read.text("strong_concern"),
            notes=read.text("notes"),
        )
        read.raise_on_errors()
        return history


def seven_point_score(answers: Mapping[SevenPoint, Answer]) -> int:
    return sum(POINTS[item] for item in SevenPoint if answers.get(item) is Answer.YES)


def highest_possible_score(answers: Mapping[SevenPoint, Answer]) -> int:
    """Return the score if every unanswered or unknown item turned out to be a yes."""
    return sum(POINTS[item] for item in SevenPoint if answers.get(item) is not Answer.NO)


def unknown_answers(history: History) -> tuple[SevenPoint | Symptom, ...]:
    items = [item for item in SevenPoint if _is_open(history.seven_point.get(item))]
    signs = [sign for sign in Symptom if _is_open(history.symptoms.get(sign))]
    return (*items, *signs)


def urgent_reasons(history: History) -> tuple[str, ...]:
    """Why the rules alone make this case urgent, in words for the reader; empty if they do not."""
    reasons = []
    if history.score >= URGENT_SCORE:
        reasons.append(f"7-point score {history.score} (limit {URGENT_SCORE})")
    reasons += [
        sign.label
        for sign in Symptom
        if sign in URGENT_SYMPTOMS and history.symptoms.get(sign) is Answer.YES
    ]
    if history.strong_concern.strip():
        reasons.append("strong concern of the patient")
    return tuple(reasons)


def urgent_route(history: History) -> bool:
    return bool(urgent_reasons(history))


class StopKind(StrEnum):
    EMERGENCY = "emergency"
    IN_PERSON = "in_person"


@dataclass(frozen=True)
class StopRule:
    """A case that must not enter the queue, with the card that the patient is shown."""

    code: str
    kind: StopKind
    title: str
    advice: str


EMERGENCY = StopRule(
    "emergency_signs",
    StopKind.EMERGENCY,
    "Get help now",
    "Your answers may be signs of an emergency. Call your local emergency number now, or go to "
    "the nearest emergency department. Do not wait for an answer from us.",
)
INTIMATE_AREA = StopRule(
    "intimate_area",
    StopKind.IN_PERSON,
    "This needs to be seen in person",
    "We do not take photos of private parts, of an adult or a child. Please book a visit with "
    "your doctor. They can look at the spot with you there.",
)
NO_RESPONSIBLE_ADULT = StopRule(
    "minor_without_adult",
    StopKind.IN_PERSON,
    "A parent or guardian must send this",
    "You are under 18. A parent or guardian has to fill in this form with you and give their "
    "name. You can also go to your doctor in person.",
)
TOO_MANY_SPOTS = StopRule(
    "too_many_spots",
    StopKind.IN_PERSON,
    "Please have your skin checked in person",
    f"We can only look at {MAX_SPOTS} spots online. If more spots worry you, a doctor should "
    "check all of your skin. Please book a visit with your doctor.",
)
NO_PHOTO_POSSIBLE = StopRule(
    "no_photo_possible",
    StopKind.IN_PERSON,
    "Please have the spot seen in person",
    "We need a clear photo to help you online. If you cannot take one, please book a visit with "
    "your doctor.",
)


def stop_rules(history: History) -> tuple[StopRule, ...]:
    """Return what keeps this case out of the queue, the emergency first; empty if nothing does."""
    is_minor = history.age < ADULT_AGE
    site = history.location.site
    triggered = {
        EMERGENCY: bool(history.emergency_signs),
        # For a child the buttock counts as well; no photo of it is ever asked for.
        INTIMATE_AREA: site.is_intimate or (is_minor and site is BodySite.BUTTOCK),
        NO_RESPONSIBLE_ADULT: is_minor and not history.responsible_adult.strip(),
        TOO_MANY_SPOTS: history.spot_count > MAX_SPOTS,
        NO_PHOTO_POSSIBLE: not history.can_be_photographed,
    }
    return tuple(rule for rule, applies in triggered.items() if applies)


class HistoryInvalid(ValueError):
    """`errors` maps each wrong field to one sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = dict(errors)


class _FieldReader:
    """Reads values that may be anything.

    A wrong one is noted and replaced by a stand-in, which never leaves `History.from_dict`,
    because the notes are raised first.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._errors: dict[str, str] = {}

    def raise_on_errors(self) -> None:
        if self._errors:
            raise HistoryInvalid(self._errors)

    def version(self) -> None:
        if self._raw.get("version") != HISTORY_VERSION:
            self._errors["version"] = f"The history must be of version {HISTORY_VERSION}."

    def choice(self, name: str, kind: type[_Member]) -> _Member:
        return self._member(name, self._raw.get(name), kind)

    def choices(self, name: str, kind: type[_Member]) -> frozenset[_Member]:
        values = self._raw.get(name)
        if not isinstance(values, list):
            self._errors[name] = f"{_sentence_start(name)} must be a list."
            return frozenset()
        return frozenset(self._member(name, value, kind) for value in values)

    def answers(self, name: str, kind: type[_Member]) -> dict[_Member, Answer]:
        """One answer for each member of `kind`; a missing one counts as unknown."""
        given = self._raw.get(name)
        if not isinstance(given, Mapping):
            self._errors[name] = f"{_sentence_start(name)} must hold one answer per question."
            return {}
        strangers = [str(key) for key in given if key not in set(kind)]
        if strangers:
            self._errors[name] = f"{_sentence_start(name)} has no question {strangers[0]!r}."
        return {
            item: self._member(item.value, given.get(item.value, Answer.UNKNOWN.value), Answer)
            for item in kind
        }

    def whole_number(self, name: str, *, lowest: int, highest: int) -> int:
        value = self._raw.get(name)
        # bool is an int in Python, but no age.
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            self._errors[name] = (
                f"{_sentence_start(name)} must be a whole number from {lowest} to {highest}."
            )
            return lowest
        return value

    def flag(self, name: str) -> bool:
        value = self._raw.get(name)
        if not isinstance(value, bool):
            self._errors[name] = f"{_sentence_start(name)} must be true or false."
        return bool(value)

    def text(self, name: str) -> str:
        value = self._raw.get(name, "")
        if not isinstance(value, str):
            self._errors[name] = f"{_sentence_start(name)} must be text."
            return ""
        if len(value) > MAX_TEXT_LENGTH:
            self._errors[name] = (
                f"{_sentence_start(name)} must be {MAX_TEXT_LENGTH} characters or fewer."
            )
        return value

    def _member(self, name: str, value: object, kind: type[_Member]) -> _Member:
        member = next((member for member in kind if member.value == value), None)
        if member is None:
            allowed = ", ".join(member.value for member in kind)
            self._errors[name] = f"{_sentence_start(name)} must be one of: {allowed}."
        return member or next(iter(kind))


def _sentence_start(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _is_open(answer: Answer | None) -> bool:
    return answer is None or answer is Answer.UNKNOWN


def _words(member: StrEnum) -> str:
    return member.value.replace("_", " ")
