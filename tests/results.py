"""Many finished screenings at once, for what looks at their numbers."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from clinic.records.db import database_now, new_id
from clinic.records.models import ScreeningResult
from clinic.records.submissions import NewSubmission, create
from ml.labels import CLASSES
from tests.world import World


def keep_results(
    session: Session, world: World, confidences: Sequence[float], *, version: str = "v1"
) -> None:
    """One analysed case for each highest probability, a second apart, the last one now."""
    now = database_now(session)
    for place, confidence in enumerate(confidences):
        row = create(
            session,
            NewSubmission(
                submission_id=new_id(),
                patient_id=world.alice.patient_id or "",
                clinic_id=world.clinic_id,
                body_site="back",
                body_side="left",
                ai_permitted=True,
                due_at=now + timedelta(days=5),
            ),
        )
        rest = (1.0 - confidence) / (len(CLASSES) - 1)
        session.add(
            ScreeningResult(
                submission_id=row.id,
                clinic_id=row.clinic_id,
                ai_used=True,
                probabilities={name: confidence if name == "nv" else rest for name in CLASSES},
                prediction_sets={"0.90": ["nv"] if confidence > 0.5 else ["nv", "mel"]},
                outlier_score=float(place % 7),
                quality_flags=[],
                urgency=2,
                reasons=[],
                rule_reasons=[],
                model_version=version,
                model_fingerprint="f" * 64,
                stage_seconds={"analyse": 0.5},
                finished_at=now - timedelta(seconds=len(confidences) - 1 - place),
            )
        )
    session.flush()
