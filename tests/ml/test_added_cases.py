import hashlib
import json

import pytest

from ml.added_cases import read_added_cases
from ml.folds import LeakError, Place
from ml.image_source import ImageDataError
from ml.training_manifest import TrainingCase, TrainingManifestError, write_training_manifest
from tools.lesion_drawing import draw_lesion

PLACES = {"ISIC_1": Place("HAM_1", 0, "calibrate")}


def write_case(folder, image_id, lesion_id="L1", dx="mel", size=(600, 450)):
    folder.mkdir(exist_ok=True)
    photo = folder / f"{image_id}.jpg"
    draw_lesion(len(image_id), size).save(photo)
    digest = hashlib.sha256(photo.read_bytes()).hexdigest()
    return TrainingCase(
        image_id=image_id, lesion_id=lesion_id, dx=dx, file=photo.name, sha256=digest
    )


def manifest(folder, *cases):
    return write_training_manifest(folder, cases, origin="test")


def test_cases_of_several_manifests_are_decoded_with_their_classes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    paths = [
        manifest(one, write_case(one, "A"), write_case(one, "B", "L2", "nv", size=(200, 150))),
        manifest(two, write_case(two, "C", "L3", "bcc")),
    ]
    first, second = read_added_cases(paths, PLACES)
    assert [(record.image_id, record.label) for record in first.records] == [("A", 4), ("B", 5)]
    assert first.images.sharp_row == (0, -1)
    assert second.manifest == paths[1]
    assert second.images.best(0).shape == (224, 224, 3)


@pytest.mark.parametrize(("image_id", "lesion_id"), [("ISIC_1", "L1"), ("A", "HAM_1")])
def test_an_id_of_a_held_out_case_is_refused_by_name(tmp_path, image_id, lesion_id):
    path = manifest(tmp_path, write_case(tmp_path, image_id, lesion_id))
    with pytest.raises(LeakError, match=f"{image_id} have the image or lesion id"):
        read_added_cases([path], PLACES)


def test_an_image_named_twice_is_refused_by_name(tmp_path):
    path = manifest(tmp_path, write_case(tmp_path, "A"))
    with pytest.raises(TrainingManifestError, match="names A again"):
        read_added_cases([path, path], PLACES)


def test_a_photo_that_is_none_is_refused_by_name(tmp_path):
    case = write_case(tmp_path, "A")
    (tmp_path / "A.jpg").write_text("a letter")
    digest = hashlib.sha256(b"a letter").hexdigest()
    values = {**vars(case), "sha256": digest}
    path = manifest(tmp_path, TrainingCase(**values))
    with pytest.raises(ImageDataError, match="cannot be read: A"):
        read_added_cases([path], PLACES)


def test_a_manifest_without_cases_is_refused(tmp_path):
    with pytest.raises(TrainingManifestError, match="names no case"):
        read_added_cases([manifest(tmp_path)], PLACES)


def changed(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values.update(format=2), "format 2 is not 1"),
        (lambda values: values.pop("cases"), "is no training manifest"),
        (lambda values: values["cases"][0].update(name="N. N."), "is no training manifest"),
        (lambda values: values["cases"][0].update(dx="wart"), "A: the diagnosis 'wart'"),
        (lambda values: values["cases"][0].update(file="../A.jpg"), "lies outside the folder"),
        (lambda values: values["cases"][0].update(file="B.jpg"), "A: .*cannot be read"),
        (lambda values: values["cases"][0].update(sha256="0" * 64), "A.jpg is not the photo"),
    ],
)
def test_a_damaged_manifest_is_refused_with_the_reason(tmp_path, change, words):
    path = manifest(tmp_path, write_case(tmp_path, "A"))
    changed(path, change)
    with pytest.raises(TrainingManifestError, match=words):
        read_added_cases([path], PLACES)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(TrainingManifestError, match=r"nowhere\.json is no training manifest"):
        read_added_cases([tmp_path / "nowhere.json"], PLACES)
