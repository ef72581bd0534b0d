import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ml.bundle import VOTES, make_bundle
from ml.ensemble import Ensemble
from ml.judgement import judge
from ml.label_table import Case
from ml.labels import CLASSES
from ml.members import MEMBERS, build_member
from ml.out_of_fold import Held, OutOfFold
from ml.outcomes import analyse_cases
from tools.lesion_drawing import draw_lesion


@pytest.fixture
def runs(tmp_path):
    """Three untrained members, left as a training leaves them."""
    torch.manual_seed(1)
    for name in VOTES:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        save_file(build_member(MEMBERS[name]).state_dict(), folder / "member.safetensors")
        (folder / "run.json").write_text(json.dumps({"member": name, "history": []}))
    return tmp_path / "runs"


@pytest.mark.slow
def test_a_bundle_is_made_of_runs_and_held_out_photos_and_serves(runs, tmp_path):
    photos = [np.asarray(draw_lesion(seed, (200, 150))) for seed in range(14)]
    cases = [Case(f"P{number}", f"L{number}", number % len(CLASSES)) for number in range(14)]
    folder = tmp_path / "2026.1"
    typical = [np.asarray(draw_lesion(seed, (200, 150))) for seed in range(20, 30)]
    manifest = make_bundle(
        folder,
        runs=runs,
        calibrate=Held(cases, photos),
        typical=typical,
        out_of_fold=OutOfFold.none(len(VOTES)),
    )
    assert manifest.version == "2026.1"
    assert [entry.config.name for entry in manifest.members] == list(VOTES)
    assert all(entry.cam_scale != 1.0 for entry in manifest.members)
    assert "CC BY-NC 4.0" in manifest.provenance["data"]
    assert set(manifest.provenance["runs"]) == set(VOTES)

    assert [entry.vote for entry in manifest.members] == list(VOTES.values())
    assert set(manifest.provenance["sizes"]["basic_cnn"]) == {"parameters", "macs"}
    assert manifest.quality.smallest_side == 150

    ensemble = Ensemble.load(folder)
    figures = judge(list(analyse_cases(ensemble, cases, photos)), ensemble.policy)
    assert figures["triage"]["melanoma_sensitivity"]["value"] == 1.0
    assert figures["triage"]["malignant_sensitivity"]["value"] == 1.0
