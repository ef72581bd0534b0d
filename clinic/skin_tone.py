"""For which skin tones there is evidence that the computer's view holds.

The photos that the networks learned from carry no label of tone. They come from clinics in Austria
and Queensland, where brown and black skin is rare (Tschandl et al. 2018, Sci Data 5:180161), and on
such skin networks trained like ours find fewer cancers (Daneshjou et al. 2022, Sci Adv 8:eabq6147).
So types V and VI are outside the evidence, and an untold type may be.
"""

from enum import StrEnum

from clinic.intake import SkinType


class ToneEvidence(StrEnum):
    ASSUMED = "assumed"  # like the photos of training, as far as those are known
    NONE = "none"
    UNKNOWN = "unknown"


def evidence_for(skin_type: SkinType) -> ToneEvidence:
    if skin_type is SkinType.UNDISCLOSED:
        return ToneEvidence.UNKNOWN
    return ToneEvidence.NONE if skin_type in {SkinType.V, SkinType.VI} else ToneEvidence.ASSUMED


def tone_doubt(skin_type: SkinType) -> str | None:
    """Why a person must look first, with no trust in the computer, or None."""
    evidence = evidence_for(skin_type)
    if evidence is ToneEvidence.NONE:
        return (
            f"Skin {skin_type.label} is outside the evidence: the computer learned from hardly any "
            "photos of brown or black skin."
        )
    if evidence is ToneEvidence.UNKNOWN:
        return "The skin type was not told: the evidence for the computer's view may not hold."
    return None
