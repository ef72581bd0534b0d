import pytest
import torch

from ml.augment import _degraded, augment


def views(images, seed=1, size=48):
    return augment(images.clone(), size=size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def images():
    return torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_views_have_the_wanted_size_and_stay_in_range(images):
    batch = views(images)
    assert batch.shape == (16, 3, 48, 48)
    assert float(batch.min()) >= 0.0
    assert float(batch.max()) <= 1.0


def test_a_seed_gives_the_same_views_and_another_seed_other_ones(images):
    assert torch.equal(views(images), views(images))
    assert not torch.equal(views(images), views(images, seed=2))


def test_images_of_one_batch_are_changed_differently():
    same = torch.rand(1, 3, 64, 64).repeat(8, 1, 1, 1)
    batch = views(same)
    assert len({round(float(image.mean()), 5) for image in batch}) == 8


def test_a_mark_in_the_middle_stays_in_the_picture():
    marked = torch.full((16, 3, 64, 64), 0.5)
    marked[:, :, 26:38, 26:38] = 1.0
    assert (views(marked).amax(dim=(1, 2, 3)) > views(marked).mean(dim=(1, 2, 3)) + 0.05).all()


def test_exposure_varies_both_ways():
    grey = torch.full((200, 3, 16, 16), 0.5)
    means = views(grey, size=16).mean(dim=(1, 2, 3))
    assert float(means.min()) < 0.4
    assert float(means.max()) > 0.6


def test_three_images_in_ten_lose_their_detail_whatever_their_place():
    chequered = (torch.arange(64).view(-1, 1) + torch.arange(64)).remainder(2).float()
    batch = chequered.expand(20, 3, 64, 64)
    blurred = set()
    for seed in range(6):
        changed = _degraded(batch.clone(), torch.Generator().manual_seed(seed))
        rows = {row for row in range(20) if not torch.equal(changed[row], batch[row])}
        assert len(rows) == 6
        blurred |= rows
    assert len(blurred) > 12


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_smallest_batches_are_augmented_too(images, count):
    assert views(images[:count]).shape == (count, 3, 48, 48)
