"""What a dermatologist does at the desk over HTTP: claim, first read, pictures, signature."""

from clinic.records.models import ScreeningResult
from clinic.terminology import LESION_CLASSES
from tools.portal_client import Picture, PortalClient

PATIENT_TEXT = (
    "This is a demonstration. No doctor has looked at this photo. "
    "Please do not use it to decide about your skin. "
    "If a spot worries you, show it to a doctor."
)


def read_and_sign(
    desk: PortalClient, case_id: str, result: ScreeningResult, *, queue: str
) -> list[Picture]:
    """Sign a case as the computer has it, from the page `queue` on; return its pictures."""
    probabilities = result.probabilities or {}
    top = max(probabilities, key=lambda label: probabilities[label])
    page = desk.post(f"/review/{case_id}/claim", {}, page=queue)
    first = {"impression": top, "confidence": "low"}
    page = desk.post(f"/review/{case_id}/first-read", first, page=page)
    pictures = desk.pictures(case_id, page=page)
    decision = {
        "diagnosis": top,
        "icd10_code": LESION_CLASSES[top].targets[0].icd10.code,
        "confidence": "low",
        "image_quality": "acceptable",
        "plan": "in_person",
        "agreement": "agree",
        "override_reason": "",
        "clinical_note": "Signed by the demo program. No doctor looked at this photo.",
        "patient_text": PATIENT_TEXT,
    }
    preview = desk.post(f"/review/{case_id}/sign", decision, page=page)
    signing = {**decision, "action": "sign"}
    desk.post(f"/review/{case_id}/sign", signing, page=preview)
    return pictures
