from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.members import MEMBERS, build_member
from ml.preprocess import squares_of, to_input
from ml.served_member import ServedMember
from tools.lesion_drawing import draw_lesion

CONFIG = replace(MEMBERS["basic_cnn"], input_size=64)


@pytest.fixture
def squares():
    photos = [np.asarray(draw_lesion(seed, (90, 70))) for seed in range(4)]
    return torch.from_numpy(squares_of(photos, CONFIG.input_size))


@pytest.fixture
def network():
    torch.manual_seed(5)
    network = build_member(CONFIG)
    photos = [np.asarray(draw_lesion(seed, (90, 70))) for seed in range(8)]
    for _ in range(20):  # Gives the norms statistics of their own.
        network(to_input(photos, CONFIG))
    return network.eval()


def test_it_answers_squares_as_the_member_answers_photos(network, squares):
    photos = [np.asarray(draw_lesion(seed, (90, 70))) for seed in range(4)]
    with torch.inference_mode():
        expected = network(to_input(photos, CONFIG))
        logits, pooled, maps = ServedMember(network, CONFIG)(squares)
    assert torch.allclose(logits, expected, atol=1e-4)
    assert torch.allclose(maps.mean(dim=(2, 3)) + network.head.bias, logits, atol=1e-4)
    assert pooled.shape == (4, network.head.in_features)


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.02), (torch.float16, 0.002)])
def test_in_half_precision_it_answers_nearly_the_same_in_single(network, squares, dtype, error):
    with torch.inference_mode():
        expected = network(to_input([own.numpy() for own in squares], CONFIG))
        answers = ServedMember(network, CONFIG, dtype=dtype)(squares)
    assert all(answer.dtype == torch.float32 for answer in answers)
    assert expected.abs().max() > 0.1
    assert (answers[0] - expected).abs().max() < error
