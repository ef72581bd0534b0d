import json

import pytest

from ml.artifact import load_bundle
from ml.engine import DeviceLostError
from ml.engine_choice import engine_for, permitted_precision
from ml.ensemble import Ensemble


@pytest.fixture
def gate_file(tmp_path):
    path = tmp_path / "engine_gate.json"
    path.write_text(json.dumps({"fit": {"may_serve": True}, "unfit": {"may_serve": False}}))
    return path


@pytest.mark.parametrize(
    ("fingerprint", "precision"), [("fit", "bf16"), ("unfit", "f32"), ("unknown", "f32")]
)
def test_only_a_bundle_that_passed_the_gate_is_answered_in_half_precision(
    gate_file, fingerprint, precision
):
    assert permitted_precision(fingerprint, gate_file) == precision


def test_a_new_bundle_is_answered_in_single_precision(make_bundle):
    ensemble = Ensemble.load(make_bundle(), device="cpu")
    assert (ensemble.engine, ensemble.device) == ("openvino f32", "cpu")


def test_a_gpu_that_is_asked_for_and_missing_is_an_error_that_says_so(make_bundle, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DeviceLostError, match="no usable GPU"):
        engine_for(load_bundle(make_bundle()), "cuda")
