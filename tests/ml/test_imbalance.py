import pytest
import torch
from torch.nn import functional

from ml.imbalance import IMBALANCE, Loss, classification_loss, log_shares, prevalence_left

LOGITS = torch.tensor([[2.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
LABELS = torch.tensor([0, 2])
LOG_PRIOR = torch.tensor([0.7, 0.2, 0.1]).log()


def loss(kind, log_prior=LOG_PRIOR):
    value = classification_loss(kind, LOGITS, LABELS, log_prior=log_prior, smoothing=0.0)
    return float(value)


def test_plain_cross_entropy_does_not_know_the_prior():
    assert loss(Loss.CROSS_ENTROPY) == pytest.approx(
        float(functional.cross_entropy(LOGITS, LABELS))
    )


def test_logit_adjustment_adds_the_log_prior_and_changes_nothing_when_classes_are_even():
    expected = functional.cross_entropy(LOGITS + LOG_PRIOR, LABELS)
    assert loss(Loss.LOGIT_ADJUSTED) == pytest.approx(float(expected))
    even = torch.full((3,), 1 / 3).log()
    assert loss(Loss.LOGIT_ADJUSTED, even) == pytest.approx(loss(Loss.CROSS_ENTROPY))


def test_the_focal_loss_counts_easy_cases_less():
    certain = LOGITS.softmax(dim=1)[torch.arange(2), LABELS]
    expected = (-(certain.log()) * (1 - certain)).mean()
    assert loss(Loss.FOCAL) == pytest.approx(float(expected))


def test_a_class_that_is_never_drawn_gets_no_adjustment():
    assert log_shares(torch.tensor([0.5, 0.0, 0.5]).numpy())[1] == 0.0


def test_the_comparison_includes_what_the_field_would_try():
    losses = {entry.loss for entry in IMBALANCE.values()}
    assert losses == set(Loss)
    assert {entry.sampling_power for entry in IMBALANCE.values()} >= {0.0, 1.0}


def test_logit_adjustment_leaves_no_prevalence_and_draws_leave_what_they_follow():
    assert prevalence_left(IMBALANCE["soft_sampling_and_adjustment"]) == 0.0
    assert prevalence_left(IMBALANCE["plain"]) == 1.0
    assert prevalence_left(IMBALANCE["balanced_sampling"]) == 0.0
    assert prevalence_left(IMBALANCE["soft_sampling"]) == pytest.approx(0.3)
