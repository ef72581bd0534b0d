"""The computer's view as plain values: rows in, words out. It opens after the first read alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from clinic.intake import History, SkinType
from clinic.keeper_protocol import ObjectKind
from clinic.records.models import FirstRead, ScreeningResult, SealedObject
from clinic.skin_tone import tone_doubt
from ml.focus import FOCUS_WORDS, Focus
from ml.labels import MALIGNANT
from ml.quality_flag import QualityFlag
from ml.triage import DOUBT_WORDS, SET_LEVEL, quality_words
from web.portal.wording import class_name, member_name, probability_rows

_NOT_DERMOSCOPIC = (
    "The networks learned from photos through a skin lens; this one was taken without."
)


def computer(
    result: ScreeningResult | None, read: FirstRead | None, history: History | None
) -> dict[str, Any] | None:
    """All that the reader is shown; None where no analysis was made."""
    if result is None or result.probabilities is None:
        return None
    warnings = _warnings(result, history)
    return {
        "probabilities": probability_rows(result.probabilities),
        "set_words": _set_words(result.prediction_sets or {}),
        "reasons": [reason for reason in result.reasons if reason not in warnings],
        "warnings": warnings,
        "maps": _maps(result),
        "members": _members(result.members or {}),
        "agreement_words": _agreement(likeliest(result.probabilities), read),
        "model_version": result.model_version,
        "fingerprint": result.model_fingerprint or "",
    }


def likeliest(probabilities: Mapping[str, float]) -> str:
    return max(probabilities, key=lambda label: probabilities[label])


def layer_labels(
    pictures: Sequence[SealedObject], result: ScreeningResult | None
) -> dict[str, str]:
    """Which class each heat-map among these pictures explains, in words, by its id."""
    layers = sorted(
        (one for one in pictures if one.kind == ObjectKind.HEATMAP), key=lambda one: one.slot
    )
    labels = _explained(result) if result else []
    return {one.id: class_name(label) for one, label in zip(layers, labels, strict=False)}


def line(result: ScreeningResult | None) -> str:
    """One line for the signed record."""
    if result is None or result.probabilities is None:
        return "No computer's view was available for this case."
    top = likeliest(result.probabilities)
    percent = round(100 * result.probabilities[top])
    return f"{class_name(top)}, about {percent} in 100 (model {result.model_version})"


def agreement_problem(
    result: ScreeningResult | None, *, agreement: str, diagnosis: str
) -> str | None:
    """What is wrong with how a decision speaks of the computer's view, or None.

    An override with the computer's own class is right: it may concern the set, or the urgency.
    """
    if result is None or result.probabilities is None:
        there_was = agreement != "not_available"
        return "There was no computer's view for this case. Say so." if there_was else None
    top = likeliest(result.probabilities)
    if agreement == "not_available":
        return "There was a computer's view for this case. Say whether you agree with it."
    if agreement == "agree" and diagnosis != top:
        return (
            f"The computer finds {class_name(top)} likeliest, and you decided otherwise. "
            "Choose override and say why."
        )
    return None


def _set_words(sets: Mapping[str, Sequence[str]]) -> str:
    """The classes that hold the true one in most cases; empty for results of older models."""
    if SET_LEVEL not in sets:
        return ""
    names = ", ".join(class_name(label) for label in sets[SET_LEVEL])
    return f"In {round(100 * float(SET_LEVEL))} of 100 cases the true class is among: {names}."


def _warnings(result: ScreeningResult, history: History | None) -> list[str]:
    """Why the computer may be wrong here; the gravest come first."""
    found = [words for words in DOUBT_WORDS.values() if words in result.reasons]
    tone = tone_doubt(history.skin_type if history else SkinType.UNDISCLOSED)
    found += [tone] if tone else []
    found += [quality_words(QualityFlag(flag)) for flag in result.quality_flags]
    if result.analysed_view != "dermoscopic":
        found.append(_NOT_DERMOSCOPIC)
    return found


def _explained(result: ScreeningResult) -> list[str]:
    """The classes of the heat-maps in their order; one in results of earlier versions."""
    if result.maps is not None:
        return [one["label"] for one in result.maps]
    return [result.explained_class] if result.explained_class else []


def _maps(result: ScreeningResult) -> list[dict[str, str]]:
    focus = {one["label"]: FOCUS_WORDS[Focus(one["focus"])] for one in result.maps or []}
    return [
        {"label": class_name(label), "words": focus.get(label, "")} for label in _explained(result)
    ]


def _members(members: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """What each network alone finds likeliest; its own probability is not calibrated."""
    tops = {name: likeliest(probabilities) for name, probabilities in members.items()}
    return [
        {"name": member_name(name), "label": class_name(top), "probability": members[name][top]}
        for name, top in tops.items()
    ]


def _agreement(top: str, read: FirstRead | None) -> str:
    if read is None:
        return ""
    if read.impression == top:
        return "It agrees with your first read."
    place = " It was among your alternatives." if top in read.alternatives else ""
    risk = (read.impression in MALIGNANT) != (top in MALIGNANT)
    extra = " Benign and malignant differ: look again." if risk else ""
    return f"It differs from your first read.{place}{extra}"
