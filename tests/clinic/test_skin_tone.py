"""Which skin types are outside the evidence: every type with every state of the evidence."""

import pytest

from clinic.intake import SkinType
from clinic.skin_tone import ToneEvidence, evidence_for, tone_doubt

EXPECTED = {
    SkinType.I: ToneEvidence.ASSUMED,
    SkinType.II: ToneEvidence.ASSUMED,
    SkinType.III: ToneEvidence.ASSUMED,
    SkinType.IV: ToneEvidence.ASSUMED,
    SkinType.V: ToneEvidence.NONE,
    SkinType.VI: ToneEvidence.NONE,
    SkinType.UNDISCLOSED: ToneEvidence.UNKNOWN,
}


@pytest.mark.parametrize("skin_type", SkinType)
def test_a_doubt_is_told_for_every_tone_without_evidence_and_for_no_other(skin_type):
    evidence = evidence_for(skin_type)

    assert evidence is EXPECTED[skin_type]
    assert (tone_doubt(skin_type) is None) == (evidence is ToneEvidence.ASSUMED)


def test_the_words_name_the_type_or_say_that_it_was_not_told():
    assert "type V is outside the evidence" in (tone_doubt(SkinType.V) or "")
    assert "type VI is outside the evidence" in (tone_doubt(SkinType.VI) or "")
    assert "not told" in (tone_doubt(SkinType.UNDISCLOSED) or "")
