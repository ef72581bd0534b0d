"""Which cases a second dermatologist reads, and what opinions that differ lead to."""

import hashlib
import hmac
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinic.double_read import (
    ENDS_HERE,
    ConsensusPath,
    DecidedCase,
    Opinion,
    ReadReason,
    Rule,
    Wanted,
    consensus_of_two,
    differs_in_risk,
    is_drawn,
    is_less_careful,
    needs_third,
    wanted,
)
from ml.labels import CLASSES

KEY = b"k" * 32
HARMLESS = Opinion("nv", "benign_advice")
SEEN = Opinion("nv", "in_person")
MELANOMA = Opinion("mel", "biopsy")
CASE = DecidedCase("c1", "II", "nv", "nv", HARMLESS)
NOTHING = Rule(benign_share=0.0, skin_tone=False, disagreement=False)

opinions = st.builds(
    Opinion,
    st.sampled_from([*CLASSES, "other"]),
    st.sampled_from(["benign_advice", "gp_plan", "biopsy", "urgent_clinic", "in_person"]),
)


def asked(case: DecidedCase, rule: Rule) -> Wanted | None:
    return wanted(case, rule, key=KEY)


def test_the_usual_rule_is_five_in_a_hundred_dark_skin_and_disagreement() -> None:
    assert Rule() == Rule(benign_share=0.05, skin_tone=True, disagreement=True)


@pytest.mark.parametrize("skin_type", ["V", "VI"])
def test_dark_skin_is_read_twice_before_a_letter_that_ends_the_case(skin_type: str) -> None:
    case, rule = replace(CASE, skin_type=skin_type), replace(NOTHING, skin_tone=True)
    assert asked(case, rule) == Wanted(ReadReason.SKIN_TONE, holds=True)
    seen = replace(case, decision=SEEN)
    assert asked(seen, rule) == Wanted(ReadReason.SKIN_TONE, holds=False)
    assert asked(case, NOTHING) is None


@pytest.mark.parametrize("skin_type", ["I", "II", "III", "IV", "undisclosed", None])
def test_other_skin_types_are_no_cause(skin_type: str | None) -> None:
    assert asked(replace(CASE, skin_type=skin_type), replace(NOTHING, skin_tone=True)) is None


@pytest.mark.parametrize(("first", "computer"), [("nv", "mel"), ("bcc", "bkl"), ("other", "mel")])
def test_a_first_read_and_a_computer_that_differ_on_malignancy_are_a_cause(
    first: str, computer: str
) -> None:
    case, rule = replace(CASE, first_read=first, computer=computer), Rule()
    assert asked(case, rule) == Wanted(ReadReason.DISAGREEMENT, holds=True)
    assert asked(replace(case, computer=first), replace(rule, benign_share=0.0)) is None
    assert asked(replace(case, computer=None), replace(rule, benign_share=0.0)) is None


def test_the_sample_is_an_audit_that_nobody_waits_for() -> None:
    assert asked(CASE, replace(NOTHING, benign_share=1.0)) == Wanted(ReadReason.SAMPLE, holds=False)


@pytest.mark.parametrize("decision", [SEEN, MELANOMA, Opinion("bcc", "gp_plan")])
def test_the_sample_holds_cases_that_end_here_with_a_benign_diagnosis_alone(
    decision: Opinion,
) -> None:
    assert asked(replace(CASE, decision=decision), replace(NOTHING, benign_share=1.0)) is None


def test_the_draw_is_the_keyed_hash_as_it_is_written_down() -> None:
    mac = hmac.new(KEY, b"dermqueue double read\0c1", hashlib.sha256).digest()
    fraction = int.from_bytes(mac[:8], "big") / 2**64
    assert not is_drawn("c1", share=fraction * 0.999, key=KEY)
    assert is_drawn("c1", share=fraction * 1.001, key=KEY)


def test_the_draw_takes_the_share_it_is_told_to_take() -> None:
    drawn = sum(is_drawn(f"case-{n}", share=0.05, key=KEY) for n in range(10_000))
    assert 430 <= drawn <= 570  # 500, give or take three standard deviations of 22


def test_nobody_is_drawn_at_none_and_everybody_at_all() -> None:
    cases = [f"case-{n}" for n in range(300)]
    assert not any(is_drawn(one, share=0.0, key=KEY) for one in cases)
    assert all(is_drawn(one, share=1.0, key=KEY) for one in cases)


def test_another_key_draws_other_cases() -> None:
    cases = [f"case-{n}" for n in range(300)]
    draws = [[is_drawn(one, share=0.5, key=key) for one in cases] for key in (KEY, b"other")]
    assert draws[0] != draws[1]


@given(opinions, opinions)
def test_a_case_goes_to_a_third_only_where_it_would_end_against_somebody(
    decision: Opinion, other: Opinion
) -> None:
    if needs_third(decision, [other]):
        assert decision.plan in ENDS_HERE
        assert differs_in_risk(decision, other)
    assert not needs_third(decision, [])
    assert not needs_third(decision, [decision])


def test_whoever_is_more_careful_needs_nobody() -> None:
    assert not is_less_careful(SEEN, HARMLESS)
    assert not is_less_careful(MELANOMA, HARMLESS)
    assert is_less_careful(HARMLESS, SEEN)
    assert is_less_careful(HARMLESS, Opinion("mel", "gp_plan"))


def test_two_agree_on_the_diagnosis_on_the_risk_or_not() -> None:
    assert consensus_of_two(HARMLESS, HARMLESS) is ConsensusPath.AGREED
    assert consensus_of_two(HARMLESS, Opinion("df", "gp_plan")) is ConsensusPath.SAME_RISK
    assert consensus_of_two(HARMLESS, SEEN) is None
    assert consensus_of_two(HARMLESS, MELANOMA) is None
