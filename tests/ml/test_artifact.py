import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from ml.artifact import BundleError, live_bundle, load_bundle, read_manifest


@pytest.fixture
def bundle(make_bundle):
    return make_bundle()


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_bundle_comes_back_as_it_was_saved(bundle):
    loaded = load_bundle(bundle)
    manifest, fingerprint, members = loaded.manifest, loaded.fingerprint, loaded.members
    assert manifest.version == "test"
    assert list(members) == ["basic_cnn", "efficientnet_b0"]
    assert len(fingerprint) == 64
    assert not any(member.training for member in members.values())
    assert manifest.members[0].config.input_size == 64


@pytest.mark.parametrize("name", ["basic_cnn.safetensors", "outlier.safetensors"])
def test_a_flipped_bit_is_refused_and_the_file_named(bundle, name):
    path = bundle / name
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=rf"{name} .*restore"):
        load_bundle(bundle)


def test_foreign_weights_with_a_fitting_hash_but_other_shapes_are_refused(bundle):
    def borrow(values):
        values["members"][0]["file"] = "efficientnet_b0.safetensors"
        values["members"][0]["sha256"] = values["members"][1]["sha256"]

    edit_manifest(bundle, borrow)
    with pytest.raises(BundleError, match="does not fit basic_cnn"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["manifest.json", "basic_cnn.safetensors", "outlier.safetensors"])
def test_a_missing_file_is_named_with_the_way_to_get_it(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=rf"{name} cannot be read .*python -m ml.train"):
        load_bundle(bundle)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values["classes"].pop(), "classes"),
        (lambda values: values["classes"].reverse(), "classes"),
        (lambda values: values.update(format=1), "format"),
        (lambda values: values.update(members=[]), "no member"),
        (lambda values: values.pop("temperature"), "temperature"),
        (lambda values: values["policy"].pop("low_confidence"), "Policy"),
        (lambda values: values["policy"].update(urgent_malignant=0.0), "suspicious <= urgent"),
        (lambda values: values["members"][0]["config"].update(name="vgg"), "vgg"),
        (lambda values: values["members"][0].update(file="../other"), "outside"),
        (lambda values: values["members"][0].update(pickle="yes"), "MemberEntry"),
        (lambda values: values["conformal"]["thresholds"]["0.90"].pop("mel"), "0.90 sets"),
        (lambda values: values.pop("outlier_sha256"), "outlier_sha256"),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(bundle, change, words):
    edit_manifest(bundle, change)
    with pytest.raises(BundleError, match=words):
        read_manifest(bundle)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": 2}'])
def test_a_manifest_that_is_no_manifest_is_refused(bundle, text):
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json is no manifest"):
        read_manifest(bundle)


def test_the_fingerprint_changes_with_any_setting(bundle):
    _, before = read_manifest(bundle)
    edit_manifest(bundle, lambda values: values.update(temperature=1.51))
    assert read_manifest(bundle)[1] != before


def test_weights_are_kept_in_half_precision_and_in_no_pickle(bundle):
    tensors = load_file(bundle / "basic_cnn.safetensors")
    floats = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    assert {str(kind) for kind in floats} == {"torch.float16"}


def test_an_extra_tensor_is_refused(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    tensors = load_file(copy / "basic_cnn.safetensors")
    tensors["stowaway"] = tensors["head.bias"].clone()
    save_file(tensors, copy / "basic_cnn.safetensors")
    with pytest.raises(BundleError, match="sha256"):
        load_bundle(copy)


def test_the_live_bundle_is_the_one_that_the_pointer_names(tmp_path):
    (tmp_path / "LIVE").write_text("2026.1\n")
    assert live_bundle(tmp_path) == tmp_path / "2026.1"


@pytest.mark.parametrize("text", ["", "../elsewhere", "a/b"])
def test_a_pointer_that_leads_elsewhere_is_refused(tmp_path, text):
    (tmp_path / "LIVE").write_text(text)
    with pytest.raises(BundleError, match="name of one folder"):
        live_bundle(tmp_path)


def test_a_missing_pointer_is_refused(tmp_path):
    with pytest.raises(BundleError, match="LIVE is missing"):
        live_bundle(tmp_path)
