"""Why a reader passes a case on, and for which of these reasons it is not served to them again."""

from enum import StrEnum


class HandOverReason(StrEnum):
    END_OF_SHIFT = "end_of_shift"
    OTHER_EXPERTISE = "other_expertise"
    CONFLICT = "conflict"
    MISTAKE = "mistake"


REASON_WORDS = {
    HandOverReason.END_OF_SHIFT: "End of my shift",
    HandOverReason.OTHER_EXPERTISE: "Needs other expertise",
    HandOverReason.CONFLICT: "I know the patient",
    HandOverReason.MISTAKE: "Taken by mistake",
}
# "Next case" passes these by: the reader said that somebody else is to read them.
NOT_FOR_ME = (HandOverReason.CONFLICT, HandOverReason.OTHER_EXPERTISE)
