"""The engine that serves answers as eager PyTorch does."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.artifact import live_bundle, load_bundle
from ml.engine_eager import EagerEngine
from ml.engine_openvino import OpenVinoEngine
from ml.members import MEMBERS, build_member
from ml.preprocess import squares_of, to_input
from tools.lesion_drawing import draw_lesion

CORES = 2
AGREED = 1e-3


def assert_agreed(given, expected):
    for own, reference in zip(given, expected, strict=True):
        for name in ("logits", "pooled", "class_maps"):
            got, wanted = getattr(own, name), getattr(reference, name)
            assert got.dtype == np.float32
            assert got.shape == wanted.shape
            assert np.abs(wanted).max() > 1e-2  # Else nought would agree with it.
            assert np.abs(got - wanted).max() < AGREED


def engines(networks, configs):
    eager = EagerEngine.of(copy.deepcopy(networks), configs)
    return eager, OpenVinoEngine.of(networks, configs, cores=CORES)


@pytest.fixture(scope="module")
def small():
    """Two members of different input sizes, with statistics of their own in their norms."""
    torch.manual_seed(3)
    configs = [
        replace(MEMBERS["efficientnet_b0"], input_size=64),
        replace(MEMBERS["basic_cnn"], input_size=48),
    ]
    networks = [build_member(config) for config in configs]
    for network, config in zip(networks, configs, strict=True):
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = None
        photos = [np.asarray(draw_lesion(seed, (90, 70))) for seed in range(8)]
        network.train()(to_input(photos, config))
    return engines(networks, configs)


def squares(count):
    """Of the two small members; each photo another one."""
    photos = [np.asarray(draw_lesion(seed, (90, 70))) for seed in range(count)]
    return [squares_of(photos, side) for side in (64, 48)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_agrees_with_eager_pytorch_whatever_the_batch(small, count):
    eager, served = small
    assert_agreed(served.run(squares(count)), eager.run(squares(count)))


def test_a_photo_keeps_its_place_in_the_batch(small):
    _, served = small
    together = served.run(squares(5))
    for number in range(5):
        alone = served.run([own[number : number + 1] for own in squares(5)])
        for member, single in zip(together, alone, strict=True):
            assert np.abs(member.logits[number] - single.logits[0]).max() < AGREED


def test_it_says_what_runs_and_where(small):
    _, served = small
    assert served.name == "openvino f32"
    assert served.device == "cpu"
    assert served.batch_size >= CORES


@pytest.mark.slow
def test_the_live_bundle_answers_as_in_eager_pytorch():
    bundle = load_bundle(live_bundle())
    configs = [entry.config for entry in bundle.manifest.members]
    eager, served = engines([bundle.members[config.name] for config in configs], configs)
    photos = [np.asarray(draw_lesion(seed, (600, 450))) for seed in range(3)]
    seen = [squares_of(photos, config.input_size) for config in configs]
    assert_agreed(served.run(seen), eager.run(seen))
