from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.dataset import decode_images
from ml.folds import LeakError, Place, Record, write_folds
from ml.members import MEMBERS, build_member
from ml.preprocess import to_input
from ml.sampler import Draws
from ml.training_data import HeldOut, Pool, Source, load_batch, predict, read_source
from tools.lesion_drawing import draw_lesion

CPU = torch.device("cpu")
SMALL = replace(MEMBERS["basic_cnn"], input_size=48)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four images, the third of them sharp too."""
    root = tmp_path_factory.mktemp("data")
    for number in range(4):
        draw_lesion(number, (200, 150)).save(root / f"ISIC_{number}.jpg")
    (root / "crops").mkdir()
    draw_lesion(2, (224, 224)).save(root / "crops" / "ISIC_2.jpg")
    return root


RECORDS = [Record(f"ISIC_{number}", f"HAM_{number}", 4) for number in range(4)]


@pytest.fixture(scope="module")
def images(data):
    return decode_images(RECORDS, data)


@pytest.fixture
def source(images, tmp_path):
    places = {
        record.image_id: Place(record.lesion_id, fold, half)
        for record, fold, half in zip(
            RECORDS, (0, 1, 1, 1), ("report", "report", "report", "calibrate"), strict=True
        )
    }
    return Source(list(RECORDS), places, images, [], tmp_path / "folds.csv")


def test_a_batch_holds_the_drawn_versions_with_their_labels(images):
    draws = Draws(np.array([3, 2, 2]), np.array([False, True, False]), np.array([1, 2, 3]))
    pictures, labels = load_batch(Pool.of(images, CPU), draws)
    assert pictures.shape == (3, 3, 224, 224)
    assert labels.tolist() == [2, 1, 3]
    sharp = torch.from_numpy(images.sharp[0]).permute(2, 0, 1) / 255.0
    assert torch.equal(pictures[0], sharp)
    for picture, row in ((pictures[1], 3), (pictures[2], 2)):
        small = torch.nn.functional.interpolate(picture[None], size=150, mode="area")[0]
        soft = torch.from_numpy(images.soft[row]).permute(2, 0, 1) / 255.0
        assert float((small - soft).abs().mean()) < 0.02


@pytest.mark.parametrize("sharp", [True, False])
def test_a_batch_may_be_all_sharp_or_all_soft(images, sharp):
    draws = Draws(np.array([2, 2]), np.full(2, sharp), np.array([0, 1]))
    assert load_batch(Pool.of(images, CPU), draws)[0].shape == (2, 3, 224, 224)


def test_the_held_out_fold_is_seen_as_in_service_choosing_half_first(source, images):
    held_out = HeldOut.of(source, SMALL, fold=1, device=CPU)
    assert held_out.image_ids == ("ISIC_3", "ISIC_1", "ISIC_2")
    assert held_out.choosing == 1
    torch.manual_seed(0)
    member = build_member(SMALL)
    logits = predict(member, held_out.squares, SMALL, batch=2)
    assert logits.dtype == np.float32
    with torch.inference_mode():
        served = member.eval()(to_input([images.best(row) for row in (3, 1, 2)], SMALL)).numpy()
    assert np.abs(logits - served).max() < 1e-5


def test_the_other_folds_and_added_cases_train_and_only_the_fold_is_held_out(source, images):
    more = replace(source, records=[*RECORDS, Record("NEW", "N1", 5)])
    more = replace(
        more, images=replace(images, sharp_row=(*images.sharp_row, -1)), added=[AddedOne()]
    )
    assert [lesion.lesion_id for lesion in more.training_lesions(held_out=1)] == ["HAM_0", "N1"]
    assert more.held_out_rows(fold=1) == ([3, 1, 2], 1)


class AddedOne:
    """Stands in for AddedCases where only their number matters."""

    records = (None,)


def test_a_lesion_that_only_the_folds_file_keeps_apart_is_found(data, tmp_path):
    table = tmp_path / "metadata.csv"
    table.write_text("lesion_id,image_id,dx\nHAM_0,ISIC_0,mel\nHAM_0,ISIC_1,mel\n")
    places = {"ISIC_0": Place("A", 0, "report"), "ISIC_1": Place("B", 1, "report")}
    write_folds(places, tmp_path / "folds.csv")
    with pytest.raises(LeakError, match="HAM_0"):
        read_source(
            images=data, metadata=table, folds=tmp_path / "folds.csv", cache=tmp_path / "cache"
        )


def test_the_pool_on_a_cpu_copies_nothing(images):
    pool = Pool.of(images, CPU)
    assert pool.soft.data_ptr() == images.soft.ctypes.data
