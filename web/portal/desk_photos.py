"""The photos at the desk as plain values: each with its heat-maps, and those of earlier visits."""

from collections.abc import Mapping, Sequence
from typing import Any

from clinic.keeper_protocol import ObjectKind
from clinic.records import sealed_objects, submissions
from clinic.records.models import ScreeningResult, SealedObject, Submission
from clinic.submission import ScreeningState
from ml.quality_flag import FLAG_WORDS, QualityFlag
from web.database import db
from web.portal.wording import VIEW_LABELS, site_words


def photos(
    pictures: Sequence[SealedObject], layer_labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Each photo, and as its layers the heat-maps of the same view.

    `layer_labels` holds by the id of a heat-map the class that it explains, in words; a heat-map
    without a label is left out.
    """
    return [
        {
            "object": photo.id,
            "view": photo.view or "close_up",
            "label": VIEW_LABELS.get(photo.view or "", "Photo"),
            "layers": [
                {"label": layer_labels[one.id], "object": one.id}
                for one in pictures
                if one.view == photo.view and one.id in layer_labels
            ],
        }
        for photo in pictures
        if photo.kind != ObjectKind.HEATMAP
    ]


def earlier_visits(row: Submission) -> list[dict[str, Any]]:
    """The patient's earlier cases at the same body site that have photos, the newest first."""
    visits = submissions.earlier_visits(db.session(), row)
    kinds = [ObjectKind.RENDITION, ObjectKind.PHOTO]
    found = sealed_objects.of_submissions(db.session(), [one.id for one in visits], kinds)
    shown = [(one, photos(_viewable(one, found[one.id]), {})) for one in visits]
    return [
        {
            "id": one.id,
            "sent_at": one.received_at,
            "site": site_words(one),
            "photos": pictures,
        }
        for one, pictures in shown
        if pictures
    ]


def _viewable(row: Submission, pictures: Sequence[SealedObject]) -> list[SealedObject]:
    """Renditions; the originals only where no worker could make any."""
    dead = row.screening_state == ScreeningState.DEAD
    renditions = [one for one in pictures if one.kind == ObjectKind.RENDITION]
    return renditions or [one for one in pictures if dead and one.kind == ObjectKind.PHOTO]


def image_quality(result: ScreeningResult | None) -> str:
    """What the check of the pixels found; it knows no class."""
    if result is None or not result.ai_used:
        return "not checked"
    if not result.quality_flags:
        return "no fault found"
    return "; ".join(FLAG_WORDS[QualityFlag(flag)] for flag in result.quality_flags)
