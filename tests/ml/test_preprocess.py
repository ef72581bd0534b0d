from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.members import MEMBERS
from ml.preprocess import to_input


def test_photos_of_any_size_become_one_batch_in_their_order():
    photos = [np.full((90, 60, 3), 255, np.uint8), np.zeros((300, 500, 3), np.uint8)]
    config = MEMBERS["inception_v3"]
    batch = to_input(photos, config)
    assert batch.shape == (2, 3, config.input_size, config.input_size)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert float(batch[0].min()) == 1.0
    assert float(batch[1].max()) == 0.0


def test_each_member_gets_its_own_mean_and_deviation():
    config = replace(MEMBERS["basic_cnn"], mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0))
    batch = to_input([np.full((50, 50, 3), 255, np.uint8)], config)
    assert batch[0, :, 0, 0].tolist() == pytest.approx([1.0, 3.0, 0.5])


def test_channels_stay_red_green_blue():
    photo = np.zeros((40, 40, 3), np.uint8)
    photo[..., 0] = 255
    batch = to_input([photo], MEMBERS["inception_v3"])
    assert batch[0, 0].min() == 1.0
    assert batch[0, 1:].max() == 0.0
