import numpy as np
import pytest
from PIL import Image

from tools.lesion_drawing import draw_lesion, save_drawn


def test_a_seed_always_draws_the_same_lesion():
    assert draw_lesion(5, (300, 200)).tobytes() == draw_lesion(5, (300, 200)).tobytes()


def test_different_seeds_draw_different_lesions():
    pictures = [np.asarray(draw_lesion(seed, (120, 90)), dtype=int) for seed in range(5)]
    for first in range(5):
        for second in range(first):
            assert np.abs(pictures[first] - pictures[second]).mean() > 5


@pytest.mark.parametrize("seed", range(6))
def test_there_is_a_dark_lesion_in_the_middle_of_lighter_skin(seed):
    pixels = np.asarray(draw_lesion(seed, (400, 300)).convert("L"), dtype=float)
    assert pixels[120:180, 170:230].mean() < pixels[:40].mean() - 20


def test_the_caption_lies_outside_the_middle_square(monkeypatch):
    captioned = np.asarray(draw_lesion(2, (400, 300)), dtype=int)
    monkeypatch.setattr("tools.lesion_drawing._caption", lambda _: None)
    plain = np.asarray(draw_lesion(2, (400, 300)), dtype=int)
    changed = np.abs(captioned - plain).sum(axis=2) > 0
    assert changed.sum() > 20
    assert not changed[:, 50:350].any()


def test_a_saved_drawing_says_in_its_metadata_that_it_is_drawn(tmp_path):
    path = tmp_path / "lesion.jpg"
    save_drawn(path, 3, (300, 200))
    with Image.open(path) as image:
        assert image.format == "JPEG"
        assert image.size == (300, 200)
        assert "Drawn by a program" in image.getexif()[0x010E]
        assert b"seed 3" in image.info["comment"]
