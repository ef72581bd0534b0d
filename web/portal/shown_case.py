"""What the head of a case's page at the desk says, whether the case is open or signed."""

from typing import Any

from clinic.records import review
from clinic.records.db import database_now
from clinic.records.models import Submission
from web.database import db
from web.portal import case_view
from web.portal.texts import CaseTexts


def shown_case(row: Submission, texts: CaseTexts | None) -> dict[str, Any]:
    """The case's own values; `texts` where its history may be shown."""
    result = review.result_of(db.session(), row.id)
    detail = texts.history.location.detail if texts and texts.history else ""
    now = database_now(db.session())
    return case_view.case(row, result, site_detail=detail, now=now)
