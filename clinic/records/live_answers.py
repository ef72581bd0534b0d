"""The results of one model as drift looks at them: its first ones, and the newest after those."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from clinic.records.models import ScreeningResult
from ml.drift import REFERENCE_SIZE, WINDOW_SIZE, Answered, Drift, compare
from ml.triage import SET_LEVEL


@dataclass(frozen=True)
class ModelDrift:
    """How the live model does now against its own beginning in this installation."""

    model_version: str
    drift: Drift


def model_drift(session: Session) -> ModelDrift | None:
    """Drift of the model that answered last; None before any answer. Reads 1,000 rows at most."""
    version = session.scalar(
        select(ScreeningResult.model_version)
        .where(ScreeningResult.ai_used)
        .order_by(ScreeningResult.finished_at.desc())
        .limit(1)
    )
    if version is None:
        return None
    of_model = select(ScreeningResult).where(ScreeningResult.model_version == version)
    by_age = ScreeningResult.finished_at
    first = session.scalars(of_model.order_by(by_age).limit(REFERENCE_SIZE)).all()
    newest = session.scalars(of_model.order_by(by_age.desc()).limit(WINDOW_SIZE)).all()
    known = {row.submission_id for row in first}
    window = [row for row in newest if row.submission_id not in known]
    return ModelDrift(version, compare(list(_answered(first)), list(_answered(window))))


def _answered(rows: Iterable[ScreeningResult]) -> Iterable[Answered]:
    for row in rows:
        probabilities = row.probabilities or {}
        top = max(probabilities, key=lambda name: probabilities[name])
        measures = row.quality_measures or {}
        yield Answered(
            top_class=top,
            confidence=probabilities[top],
            doubtful=len((row.prediction_sets or {}).get(SET_LEVEL, ())) != 1,
            outlier_score=row.outlier_score or 0.0,
            flagged=bool(row.quality_flags),
            brightness=measures.get("brightness"),
            sharpness=measures.get("sharpness"),
        )
