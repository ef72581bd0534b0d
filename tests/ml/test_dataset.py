import zipfile

import numpy as np
import pytest

from ml.dataset import (
    decode_images,
    held_out_rows,
    join_images,
    load_images,
    training_rows,
)
from ml.folds import LeakError, Place, Record, read_metadata
from ml.image_source import ImageDataError
from ml.labels import CLASSES
from tools.lesion_drawing import draw_lesion

RECORDS = [Record(f"ISIC_{number}", f"HAM_{number // 2}", number // 2 % 7) for number in range(4)]


def write_frames(folder, numbers, size=(200, 150)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        draw_lesion(number, size).save(folder / f"ISIC_{number}.jpg")


@pytest.fixture
def data(tmp_path):
    """Four small frames in a folder, one sharp crop of them in a zip file beside it."""
    root = tmp_path / "data"
    write_frames(root / "part_1", range(4))
    write_frames(tmp_path / "crops", [1], size=(224, 224))
    with zipfile.ZipFile(root / "crops.zip", "w") as archive:
        archive.write(tmp_path / "crops" / "ISIC_1.jpg", "ISIC_1.jpg")
    return root


def test_folders_and_zip_files_are_read_together(data):
    images = decode_images(RECORDS, data)
    assert images.soft.shape == (4, 150, 150, 3)
    assert images.sharp.shape == (1, 224, 224, 3)
    assert images.sharp_row == (-1, 0, -1, -1)
    assert images.best(1).shape == (224, 224, 3)
    assert images.best(0).shape == (150, 150, 3)


def zipped(folder):
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
            path.unlink()
    folder.rmdir()


@pytest.mark.parametrize("as_zips", [False, True], ids=["folders", "zips"])
def test_the_data_set_as_published_gives_a_soft_and_a_sharp_square_of_each_image(tmp_path, as_zips):
    parts = [tmp_path / f"HAM10000_images_part_{part}" for part in (1, 2)]
    write_frames(parts[0], (0, 1), size=(600, 450))
    write_frames(parts[1], (2, 3), size=(600, 450))
    if as_zips:
        for part in parts:
            zipped(part)
    table = "".join(
        f"HAM_{number // 2},ISIC_{number},{CLASSES[number // 2]}\n" for number in range(4)
    )
    (tmp_path / "HAM10000_metadata.csv").write_text(f"lesion_id,image_id,dx\n{table}")
    records = read_metadata(tmp_path / "HAM10000_metadata.csv")
    assert records == RECORDS
    images = decode_images(records, tmp_path)
    assert images.sharp_row == (0, 1, 2, 3)
    assert images.soft.shape == (4, 150, 150, 3)
    assert images.sharp.shape == (4, 224, 224, 3)
    expected = np.asarray(draw_lesion(2, (600, 450)).crop((75, 0, 525, 450)).resize((224, 224)))
    assert np.abs(images.best(2).astype(int) - expected).mean() < 4.0


def test_joined_images_keep_their_sharp_versions_and_the_first_ones_hash(data, tmp_path):
    first = decode_images(RECORDS, data)
    write_frames(tmp_path / "more", (8, 9), size=(600, 450))
    more = [Record(f"ISIC_{number}", "NEW", 4) for number in (8, 9)]
    second = decode_images(more, tmp_path / "more")
    both = join_images(first, second)
    assert both.image_ids == first.image_ids + second.image_ids
    assert both.data_hash == first.data_hash
    for row in range(4):
        assert (both.best(row) == first.best(row)).all()
    assert (both.best(5) == second.best(1)).all()


def test_missing_images_are_listed_by_name(data):
    (data / "part_1" / "ISIC_2.jpg").unlink()
    (data / "part_1" / "ISIC_3.jpg").unlink()
    with pytest.raises(ImageDataError, match=r"2 images are missing .*ISIC_2, ISIC_3"):
        decode_images(RECORDS, data)


def test_unreadable_images_are_listed_by_name(data):
    (data / "part_1" / "ISIC_2.jpg").write_bytes(b"no picture")
    whole = (data / "part_1" / "ISIC_3.jpg").read_bytes()
    (data / "part_1" / "ISIC_3.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageDataError, match=r"2 images .*cannot be read: ISIC_2.*ISIC_3"):
        decode_images(RECORDS, data)


def test_the_cache_gives_the_same_images_and_notices_new_data(data, tmp_path):
    first = load_images(RECORDS, data, tmp_path / "cache")
    again = load_images(RECORDS, data, tmp_path / "cache")
    assert again.data_hash == first.data_hash
    assert (again.soft == first.soft).all()
    draw_lesion(99, (200, 150)).save(data / "part_1" / "ISIC_0.jpg")
    changed = load_images(RECORDS, data, tmp_path / "cache")
    assert changed.data_hash != first.data_hash
    assert (changed.soft[0] != first.soft[0]).any()


def places():
    return {
        "ISIC_0": Place("HAM_0", 0, "calibrate"),
        "ISIC_1": Place("HAM_0", 0, "calibrate"),
        "ISIC_2": Place("HAM_1", 0, "report"),
        "ISIC_3": Place("HAM_1", 1, "report"),
    }


def test_rows_are_chosen_by_fold_and_half():
    assert training_rows(RECORDS, places(), held_out=0) == [3]
    assert held_out_rows(RECORDS, places(), fold=0, half="calibrate") == [0, 1]


def test_an_image_without_a_fold_is_refused_by_name():
    some = places()
    del some["ISIC_2"]
    with pytest.raises(LeakError, match="ISIC_2"):
        training_rows(RECORDS, some, held_out=0)
