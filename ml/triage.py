"""How fast must a human look? One pure rule for the live service and for the evaluation.

The rule only sets the speed of a review that always takes place. Every doubt raises the urgency or
leaves it: the answer is the most urgent of all findings, so no finding can lower it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from ml.labels import CLINICAL_NAMES, MALIGNANT
from ml.prediction import Prediction
from ml.quality_flag import FLAG_WORDS, QualityFlag

# A judgement, not a measurement: what a wrong "routine" costs, in looks that were not needed.
MISSED_COST: Final = {"mel": 20.0, "bcc": 5.0, "akiec": 5.0}
# The level of prediction set in which no malignant diagnosis may stand unnoticed.
SET_LEVEL: Final = "0.90"
# Weighted 7-point checklist (NICE NG12): three points or more mean urgent referral.
URGENT_SEVEN_POINTS: Final = 3


class Urgency(StrEnum):
    URGENT = "urgent"
    SUSPICIOUS = "suspicious"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """0 for routine, higher for more urgent: sort by this, not by the word."""
        return _RANKS[self]


_RANKS: Final = {Urgency.ROUTINE: 0, Urgency.SUSPICIOUS: 1, Urgency.URGENT: 2}


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Thresholds, chosen on held-out images.

    `suspicious_malignant` is the operating point: the malignant probability from which a case is
    never routine. `unusual` and `not_skin` are outlier scores, `abstain_cost` an expected cost.
    """

    suspicious_malignant: float
    urgent_malignant: float
    low_confidence: float
    high_spread: float
    unusual: float
    not_skin: float
    abstain_cost: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.suspicious_malignant <= self.urgent_malignant <= 1.0:
            raise ValueError("the thresholds must satisfy 0 <= suspicious <= urgent <= 1")
        if not self.unusual <= self.not_skin:
            raise ValueError("the outlier thresholds must satisfy unusual <= not skin")


class Doubt(StrEnum):
    """Why the AI may be wrong about this case, or says nothing. None of them leaves it routine."""

    UNAVAILABLE = "AI unavailable"
    NOT_SKIN = "not skin"
    UNUSUAL = "unusual photo"
    POOR_QUALITY = "poor quality"
    SKIN_TONE = "skin tone"
    DISAGREEMENT = "disagreement"
    ABSTENTION = "abstention"
    LOW_CONFIDENCE = "low confidence"


# Those that need no number, each in one sentence.
DOUBT_WORDS: Final = {
    Doubt.NOT_SKIN: "The photo does not look like skin; do not rely on the AI.",
    Doubt.UNUSUAL: "The photo is unlike those that the AI learned from.",
    Doubt.DISAGREEMENT: "The networks of the AI disagree about this photo.",
    Doubt.ABSTENTION: "The AI abstains: either answer could be a costly mistake.",
}


def quality_words(flag: QualityFlag) -> str:
    return f"The AI may be misled: {FLAG_WORDS[flag]}."


@dataclass(frozen=True)
class Triage:
    """The first reason is the one that set the urgency."""

    urgency: Urgency
    reasons: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()


class Finding(NamedTuple):
    """One observation: at least so urgent, because of this."""

    urgency: Urgency
    reason: str
    doubt: Doubt | None = None


def _doubtful(doubt: Doubt, reason: str | None = None) -> Finding:
    return Finding(Urgency.SUSPICIOUS, reason or DOUBT_WORDS[doubt], doubt)


def _percent(share: float) -> str:
    if share < 0.01:
        return "under 1 %"
    return f"{share:.0%}".replace("%", " %")


def expected_cost(prediction: Prediction) -> float:
    """Expected cost of the cheaper answer, routine or soon, in looks that were not needed.

    Small where the probabilities make one answer plainly right. Missing a cancer costs by
    MISSED_COST, looking soon at a harmless lesion costs one (reject option of Chow 1970).
    """
    routine = sum(MISSED_COST[name] * prediction.probabilities[name] for name in MALIGNANT)
    return min(routine, 1.0 - prediction.malignant_probability)


def _from_prediction(prediction: Prediction, policy: Policy) -> Iterable[Finding]:
    malignant = prediction.malignant_probability
    words = f"The AI gives malignant diagnoses a probability of {_percent(malignant)}"
    if malignant >= policy.urgent_malignant:
        yield Finding(Urgency.URGENT, f"{words}, at or above the urgent mark.")
    elif malignant >= policy.suspicious_malignant:
        yield Finding(Urgency.SUSPICIOUS, f"{words}, at or above the mark for suspicion.")
    if prediction.confidence < policy.low_confidence:
        top = CLINICAL_NAMES[prediction.top_class]
        share = _percent(prediction.confidence)
        words = f"The AI is not sure: its likeliest diagnosis ({top}) has only {share}."
        yield _doubtful(Doubt.LOW_CONFIDENCE, words)
    if prediction.spread > policy.high_spread:
        yield _doubtful(Doubt.DISAGREEMENT)
    if prediction.answer in MALIGNANT and prediction.top_class not in MALIGNANT:
        name = CLINICAL_NAMES[prediction.answer]
        words = f"If all groups were equally common, the AI would name: {name}."
        yield Finding(Urgency.SUSPICIOUS, words)
    in_set = [name for name in prediction.sets.get(SET_LEVEL, ()) if name in MALIGNANT]
    if in_set:
        names = ", ".join(CLINICAL_NAMES[name] for name in in_set)
        yield Finding(Urgency.SUSPICIOUS, f"The AI cannot rule out: {names}.")
    if expected_cost(prediction) > policy.abstain_cost:
        yield _doubtful(Doubt.ABSTENTION)


def _from_likeness(prediction: Prediction, policy: Policy) -> Iterable[Finding]:
    if prediction.outlier_score > policy.not_skin:
        yield _doubtful(Doubt.NOT_SKIN)
    elif prediction.outlier_score > policy.unusual:
        yield _doubtful(Doubt.UNUSUAL)


def _from_quality(flags: Iterable[QualityFlag]) -> Iterable[Finding]:
    return (_doubtful(Doubt.POOR_QUALITY, quality_words(flag)) for flag in flags)


def _from_skin_tone(doubt: str | None) -> Iterable[Finding]:
    if doubt:
        yield _doubtful(Doubt.SKIN_TONE, doubt)


def _from_history(seven_point_score: int, *, strong_concern: bool) -> Iterable[Finding]:
    if seven_point_score >= URGENT_SEVEN_POINTS:
        points = f"The 7-point checklist gives {seven_point_score} points (3 or more)."
        yield Finding(Urgency.URGENT, points)
    if strong_concern:
        yield Finding(Urgency.URGENT, "The history gives reason for strong concern.")


def _decide(findings: Iterable[Finding], otherwise: str) -> Triage:
    ordered = sorted(findings, key=lambda finding: -finding.urgency.rank)
    if not ordered:
        return Triage(Urgency.ROUTINE, (otherwise,))
    doubts = dict.fromkeys(each.doubt for each in ordered if each.doubt)
    return Triage(ordered[0].urgency, tuple(finding.reason for finding in ordered), tuple(doubts))


def triage(
    prediction: Prediction,
    policy: Policy,
    *,
    quality_flags: Iterable[QualityFlag] = (),
    seven_point_score: int = 0,
    strong_concern: bool = False,
    tone_doubt: str | None = None,
) -> Triage:
    """Urgency of one case with one analysed photo.

    `tone_doubt` says why the skin's tone is outside the evidence for the AI, if it is.
    """
    findings = [
        *_from_history(seven_point_score, strong_concern=strong_concern),
        *_from_prediction(prediction, policy),
        *_from_likeness(prediction, policy),
        *_from_quality(quality_flags),
        *_from_skin_tone(tone_doubt),
    ]
    return _decide(findings, "Nothing raised the urgency; a dermatologist reviews the case.")


def triage_without_ai(
    explanation: str, *, seven_point_score: int = 0, strong_concern: bool = False
) -> Triage:
    """Urgency of a case that no AI could judge: at least suspicious. `explanation` says why."""
    findings = [
        *_from_history(seven_point_score, strong_concern=strong_concern),
        _doubtful(Doubt.UNAVAILABLE, f"AI unavailable: {explanation}"),
    ]
    return _decide(findings, "")


def most_urgent(triages: Iterable[Triage]) -> Triage:
    """Of several photos or lesions of one case; reasons of all, each once, most urgent first."""
    ordered = sorted(triages, key=lambda each: -each.urgency.rank)
    reasons = dict.fromkeys(reason for each in ordered for reason in each.reasons)
    doubts = dict.fromkeys(doubt for each in ordered for doubt in each.doubts)
    return Triage(ordered[0].urgency, tuple(reasons), tuple(doubts))
