"""The weights in the repository: whole, light enough to serve, and saying what they should."""

import numpy as np
import pytest

from ml.artifact import live_bundle, read_manifest
from ml.ensemble import Ensemble
from ml.labels import CLASSES
from ml.members import MEMBERS
from ml.model_card import CARD_FILE, model_card
from tools.lesion_drawing import draw_lesion


def test_all_three_members_are_in_the_live_bundle():
    manifest, _ = read_manifest(live_bundle())
    assert {entry.config.name for entry in manifest.members} == set(MEMBERS)


def test_the_model_card_is_the_one_that_the_manifest_gives():
    folder = live_bundle()
    expected = model_card(*read_manifest(folder))
    assert (folder / CARD_FILE).read_text(encoding="utf-8") == expected


def test_the_figures_reach_the_floor_of_a_short_training():
    figures = read_manifest(live_bundle())[0].metrics
    assert figures["ensemble"]["bma"] > 0.70
    assert figures["ensemble"]["macro_auc"] > 0.95
    assert figures["triage"]["melanoma_sensitivity"]["value"] >= 0.92
    assert figures["ensemble"]["ece"] < 0.04
    assert 0.87 < figures["conformal"]["0.90"]["coverage"]["value"] < 0.93
    assert figures["non_skin"]["auroc"] > 0.98


@pytest.mark.slow
def test_the_live_bundle_judges_drawn_lesions():
    ensemble = Ensemble.load(live_bundle())
    photos = [np.asarray(draw_lesion(seed, (600, 450))) for seed in range(3)]
    for analysis in ensemble.analyse(photos):
        assert sum(analysis.prediction.probabilities.values()) == pytest.approx(1.0)
        assert analysis.maps[0].label in CLASSES
        assert analysis.maps[0].heatmap.shape == (450, 600)
        assert analysis.maps[0].heatmap.max() > 0.0
        assert analysis.maps[0].heatmap[:, :75].max() == 0.0
