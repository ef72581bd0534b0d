import json

import openvino
import pytest

from ml.arithmetic import FOLDER, hashes_of
from ml.artifact import live_bundle, load_bundle
from ml.engine import DeviceLostError
from ml.engine_choice import engine_for, permitted
from ml.engine_openvino import to_openvino
from ml.ensemble import Ensemble
from ml.served_member import ServedMember


@pytest.fixture
def quantised(make_bundle, tmp_path, monkeypatch):
    """A bundle of which one member may serve in 8 bits; its files only stand in for such."""
    folder = make_bundle()
    bundle = load_bundle(folder)
    config = bundle.manifest.members[0].config
    (folder / FOLDER).mkdir()
    model = to_openvino(ServedMember(bundle.members["basic_cnn"], config))
    openvino.save_model(model, folder / FOLDER / "basic_cnn.xml", compress_to_fp16=False)
    serves = {
        "precisions": {"basic_cnn": "int8"},
        "sha256": hashes_of(folder / FOLDER, ["basic_cnn"]),
    }
    gate = tmp_path / "engine_gate.json"
    gate.write_text(json.dumps({bundle.fingerprint: {"serves": serves}}), encoding="utf-8")
    monkeypatch.setattr("ml.engine_choice.GATE_FILE", gate)
    return folder


def test_what_passed_the_gate_serves_and_every_result_can_name_it(quantised):
    assert Ensemble.load(quantised, device="cpu").engine == "openvino int8/f32"


@pytest.mark.parametrize("file", ["basic_cnn.xml", "basic_cnn.bin"])
@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
def test_other_files_than_those_that_were_judged_never_serve(quantised, file, harm, caplog):
    harm(quantised / FOLDER / file)

    assert Ensemble.load(quantised, device="cpu").engine == "openvino f32"
    assert file in caplog.text


def test_a_processor_without_the_instructions_answers_in_single_precision(quantised, monkeypatch):
    monkeypatch.setattr("ml.engine_choice.computes_in", lambda precisions: not list(precisions))

    assert Ensemble.load(quantised, device="cpu").engine == "openvino f32"


def test_the_files_in_service_are_those_that_the_gate_names():
    bundle = load_bundle(live_bundle())
    allowed = permitted(bundle)

    assert hashes_of(bundle.folder / FOLDER, allowed.in_8_bits) == allowed.sha256


def test_a_new_bundle_is_answered_in_single_precision(make_bundle):
    ensemble = Ensemble.load(make_bundle(), device="cpu")
    assert (ensemble.engine, ensemble.device) == ("openvino f32", "cpu")


def test_a_gpu_that_is_asked_for_and_missing_is_an_error_that_says_so(make_bundle, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceLostError, match="no usable GPU"):
        engine_for(load_bundle(make_bundle()), "cuda")
