"""From history and analysis to the finding that is stored: pure rules."""

from collections.abc import Mapping
from dataclasses import replace

from clinic.intake import History, seven_point_score, urgent_reasons, urgent_route
from clinic.records.screening_queue import Finding
from clinic.skin_tone import tone_doubt
from clinic.urgency import place_of
from ml.quality_flag import FLAG_WORDS
from worker.analysis import Analysis, Analyst

AI_REFUSED = "AI unavailable: the patient refused it"


def finding_of(
    analyst: Analyst,
    history: History,
    analysis: Analysis | None,
    *,
    view: str,
    seconds: Mapping[str, float],
) -> Finding:
    """The finding about one case; without an analysis the patient has refused the computer."""
    score = seven_point_score(history.seven_point)
    triage = analyst.triage(
        analysis,
        score=score,
        strong_concern=urgent_route(history),
        tone_doubt=tone_doubt(history.skin_type),
    )
    common = Finding(
        ai_used=False,
        urgency=place_of(triage.urgency),
        reasons=triage.reasons,
        rule_reasons=rule_reasons(history, analysis),
        quality_flags=(),
        stage_seconds=dict(seconds),
        seven_point_score=score,
    )
    return common if analysis is None else _with_analysis(common, analyst, analysis, view)


def rule_reasons(history: History, analysis: Analysis | None) -> tuple[str, ...]:
    """What the rules say without the ensemble's classes; without an analysis that is said too."""
    if analysis is None:
        return (*urgent_reasons(history), AI_REFUSED)
    doubt = tone_doubt(history.skin_type)
    tone = (doubt,) if doubt else ()
    return (*urgent_reasons(history), *tone, *(FLAG_WORDS[flag] for flag in analysis.quality_flags))


def _with_analysis(common: Finding, analyst: Analyst, analysis: Analysis, view: str) -> Finding:
    prediction = analysis.prediction
    return replace(
        common,
        ai_used=True,
        quality_flags=tuple(str(flag) for flag in analysis.quality_flags),
        quality_measures=dict(analysis.quality_measures),
        probabilities=dict(prediction.probabilities),
        members={name: dict(values) for name, values in prediction.members.items()},
        spread=prediction.spread,
        prediction_sets={level: list(names) for level, names in prediction.sets.items()},
        outlier_score=prediction.outlier_score,
        explained_class=analysis.maps[0].label,
        maps=[{"label": one.label, "focus": one.focus} for one in analysis.maps],
        analysed_view=view,
        model_version=analyst.version,
        model_fingerprint=analyst.fingerprint,
        engine=analyst.engine,
        device=analyst.device,
    )
