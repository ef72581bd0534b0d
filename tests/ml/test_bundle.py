import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml.bundle import MEMBER_ORDER, Held, make_bundle
from ml.ensemble import Ensemble
from ml.evaluate import Case, analyse_cases, judge
from ml.labels import CLASSES
from ml.members import MEMBERS, build_member
from tools.lesion_drawing import draw_lesion


@pytest.fixture
def runs(tmp_path):
    """Three untrained members, left as a training leaves them."""
    torch.manual_seed(1)
    for name in MEMBER_ORDER:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        save_file(build_member(MEMBERS[name]).state_dict(), folder / "member.safetensors")
        (folder / "run.json").write_text(json.dumps({"member": name, "history": []}))
    return tmp_path / "runs"


@pytest.mark.slow
def test_a_bundle_is_made_of_runs_and_held_out_photos_and_serves(
    runs, tmp_path, quality_thresholds
):
    photos = [np.asarray(draw_lesion(seed, (200, 150))) for seed in range(14)]
    cases = [Case(f"P{number}", f"L{number}", number % len(CLASSES)) for number in range(14)]
    folder = tmp_path / "2026.1"
    manifest = make_bundle(
        folder, runs=runs, calibrate=Held(cases, photos), quality=quality_thresholds
    )
    assert manifest.version == "2026.1"
    assert [entry.config.name for entry in manifest.members] == list(MEMBER_ORDER)
    assert all(entry.cam_scale != 1.0 for entry in manifest.members)
    assert "CC BY-NC 4.0" in manifest.provenance["data"]
    assert set(manifest.provenance["runs"]) == set(MEMBER_ORDER)

    figures = judge(list(analyse_cases(Ensemble.load(folder), cases, iter(photos))))
    assert figures["triage"]["melanoma_sensitivity"]["value"] == 1.0
    assert figures["triage"]["malignant_sensitivity"]["value"] == 1.0
