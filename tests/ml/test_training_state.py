import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ml.members import MEMBERS, build_member
from ml.recipes import CPU_RECIPES
from ml.training_state import (
    TrainingError,
    fresh_state,
    load_weights,
    set_learning_rate,
    update_average,
)
from ml.training_step import train_step, within_memory

RECIPE = CPU_RECIPES["basic_cnn"]
LOG_PRIOR = torch.zeros(7)


def small_state(**changes):
    torch.manual_seed(0)
    return fresh_state(replace(RECIPE, **changes), torch.device("cpu"), start=None, backbone=None)


def small_batch():
    images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(8) % 7


def learn(state, recipe=RECIPE):
    return train_step(state, small_batch(), recipe, LOG_PRIOR).tolist()


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, bfloat16=True)])
def test_a_few_steps_on_one_batch_lower_the_loss(recipe):
    state = small_state()
    set_learning_rate(state.optimizer, 1.0)
    losses = [learn(state, recipe)[0] for _ in range(12)]
    assert losses[-1] < losses[0] - 0.3
    assert state.step == 12


def test_the_average_follows_the_weights_slowly_and_all_at_once_at_the_start():
    for step, share in ((10_000, 0.1), (0, 0.9)):
        state = small_state()
        with torch.no_grad():
            state.member.head.bias.add_(1.0)
            state.member.body[0][1].running_mean.add_(2.0)
        before = state.average.head.bias.clone()
        update_average(state.average, state.member, decay=0.9, step=step)
        assert torch.allclose(state.average.head.bias - before, torch.full((7,), share), atol=1e-5)
        mean = state.average.body[0][1].running_mean
        assert torch.allclose(mean, torch.full_like(mean, 2.0 * share), atol=1e-5)


def test_a_run_goes_on_exactly_where_its_checkpoint_was_written(tmp_path):
    """With channels last the optimizer's own averages must come back in that layout too."""
    first = small_state()
    first.member.dropout.p = 0.0
    for _ in range(3):
        learn(first)
    first.seconds, first.epoch, first.history = 12.5, 1, [{"epoch": 1.0, "bma": 0.3}]
    first.batches.append(4)
    first.save(tmp_path / "checkpoint.safetensors")

    second = small_state()
    second.member.dropout.p = 0.0
    second.restore(tmp_path / "checkpoint.safetensors")
    assert (second.seconds, second.epoch, second.step, second.batch) == (12.5, 1, 3, 4)
    assert second.history == first.history
    for _ in range(2):
        assert learn(second) == learn(first)
    for one, other in zip(first.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_damaged_checkpoint_is_refused_with_its_name(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nothing of use")
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors cannot be resumed"):
        small_state().restore(tmp_path / "checkpoint.safetensors")


def test_a_start_file_with_another_head_is_refused_with_both_numbers(tmp_path):
    member = build_member(MEMBERS["basic_cnn"])
    member.head = nn.Linear(256, 9)
    save_file(member.state_dict(), tmp_path / "nine.safetensors")
    with pytest.raises(TrainingError, match="head of 9 classes, this program knows 7"):
        load_weights(build_member(MEMBERS["basic_cnn"]), tmp_path / "nine.safetensors")


def test_a_start_file_of_another_member_or_none_at_all_is_refused(tmp_path):
    save_file(build_member(MEMBERS["basic_cnn"]).state_dict(), tmp_path / "cnn.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    other = build_member(MEMBERS["efficientnet_b0"])
    for name in ("cnn", "torn", "missing"):
        with pytest.raises(TrainingError, match=f"{name}.safetensors is not the weights"):
            load_weights(other, tmp_path / f"{name}.safetensors")
    recipe = CPU_RECIPES["efficientnet_b0"]
    with pytest.raises(TrainingError, match=r"torn\.safetensors is not the weights"):
        fresh_state(recipe, torch.device("cpu"), start=None, backbone=tmp_path / "torn.safetensors")


def fails_with(error):
    def step():
        raise error

    return step


def too_large_for_this_machine():
    return torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize(
    "step",
    [fails_with(torch.OutOfMemoryError("CUDA out of memory")), too_large_for_this_machine],
    ids=["cuda", "cpu"],
)
def test_a_step_without_memory_halves_the_batch_and_leaves_the_learning_rate(step):
    state = small_state(batch=5)
    set_learning_rate(state.optimizer, 0.25)
    rates = [group["lr"] for group in state.optimizer.param_groups]
    assert within_memory(state, step) is None
    assert within_memory(state, step) is None
    assert state.batches == [5, 2, 1]
    assert [group["lr"] for group in state.optimizer.param_groups] == rates
    with pytest.raises(TrainingError, match="not even one picture fits into memory"):
        within_memory(state, step)


def test_other_faults_of_a_step_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes differ"):
        within_memory(small_state(), fails_with(RuntimeError("shapes differ")))


def test_the_loss_of_broken_inputs_is_no_number():
    images, labels = small_batch()
    loss, _ = train_step(small_state(), (images * math.nan, labels), RECIPE, LOG_PRIOR).tolist()
    assert math.isnan(loss)
