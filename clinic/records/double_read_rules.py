"""Which cases of a clinic a second dermatologist reads: its own rule, or the usual one."""

from sqlalchemy.orm import Session

from clinic.double_read import Rule
from clinic.records.db import database_now
from clinic.records.models import DoubleReadRule


def rule_of(session: Session, clinic_id: str) -> Rule:
    row = session.get(DoubleReadRule, clinic_id)
    return Rule() if row is None else Rule(row.benign_share, row.skin_tone, row.disagreement)


def set_rule(session: Session, clinic_id: str, rule: Rule) -> None:
    session.merge(
        DoubleReadRule(
            clinic_id=clinic_id,
            benign_share=rule.benign_share,
            skin_tone=rule.skin_tone,
            disagreement=rule.disagreement,
            changed_at=database_now(session),
        )
    )
    session.flush()
