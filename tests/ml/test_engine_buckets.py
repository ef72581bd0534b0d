"""An accelerator is given few batch sizes, less when its memory runs out, and is left when lost."""

import numpy as np
import pytest
import torch

from ml.engine import DeviceLostError, MemberPass
from ml.engine_buckets import BUCKETS, BucketEngine


class Accelerator:
    """Answers each square with its first byte; holds `room` photos at once."""

    def __init__(self, room=BUCKETS[-1]):
        self.room = room
        self.batches = []
        self.forgotten = []
        self.fault = None

    def run(self, squares):
        count = len(squares[0])
        if self.fault is not None:
            raise self.fault
        if count > self.room:
            raise torch.OutOfMemoryError("out of memory")
        self.batches.append(count)
        return [
            MemberPass(
                own[:, 0, 0, :1].astype(np.float32),
                own[:, 0, 0, 1:].astype(np.float32),
                own[..., :1].astype(np.float32),
            )
            for own in squares
        ]

    def forget_above(self, bucket):
        self.forgotten.append(bucket)


def engine_on(accelerator):
    return BucketEngine(accelerator, [4, 2], name="test", device="cuda:0")


def numbered(count):
    """Squares of two members; each holds its photo's number."""
    numbers = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return [np.tile(numbers, (1, side, side, 3)) for side in (4, 2)]


def assert_all_answered(passes, count):
    assert len(passes) == 2
    for member in passes:
        assert member.logits[:, 0].tolist() == list(range(count))
        assert member.pooled.shape == (count, 2)
        assert len(member.class_maps) == count


def test_every_bucket_is_passed_once_before_it_is_ready():
    accelerator = Accelerator()
    assert engine_on(accelerator).batch_size == BUCKETS[-1]
    assert accelerator.batches == list(BUCKETS)


@pytest.mark.parametrize(("count", "bucket"), [(1, 1), (2, 4), (4, 4), (9, 16), (64, 64)])
def test_a_batch_is_padded_to_its_bucket_and_its_answers_are_not(count, bucket):
    accelerator = Accelerator()
    engine = engine_on(accelerator)
    accelerator.batches.clear()
    assert_all_answered(engine.run(numbered(count)), count)
    assert accelerator.batches == [bucket]


def test_more_than_the_largest_bucket_passes_in_parts():
    assert_all_answered(engine_on(Accelerator()).run(numbered(70)), 70)


def test_the_batch_is_what_memory_holds():
    accelerator = Accelerator(room=20)
    engine = engine_on(accelerator)
    assert engine.batch_size == 16
    assert accelerator.forgotten == [32, 16]
    assert_all_answered(engine.run(numbered(40)), 40)


def test_when_memory_runs_out_later_the_batch_is_halved_until_it_passes_and_stays_small():
    accelerator = Accelerator()
    engine = engine_on(accelerator)
    accelerator.room = 5
    assert_all_answered(engine.run(numbered(40)), 40)
    assert engine.batch_size == 4
    assert accelerator.forgotten == [32, 16, 8, 4]
    assert set(accelerator.batches[len(BUCKETS) :]) == {4}


def test_without_memory_for_one_photo_the_device_is_lost():
    with pytest.raises(DeviceLostError, match="no memory left for one photo"):
        engine_on(Accelerator(room=0))


@pytest.mark.parametrize(
    "fault", [torch.AcceleratorError("unspecified launch failure"), RuntimeError("cuDNN error")]
)
def test_any_other_fault_of_the_accelerator_means_that_it_is_lost(fault):
    accelerator = Accelerator()
    engine = engine_on(accelerator)
    accelerator.fault = fault
    with pytest.raises(DeviceLostError, match=r"cuda:0 failed") as caught:
        engine.run(numbered(3))
    assert caught.value.__cause__ is fault
    assert engine.batch_size == BUCKETS[-1]
