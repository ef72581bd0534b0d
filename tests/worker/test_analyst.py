"""The real ensemble behind the worker, with small random weights."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clinic.records import review
from ml.artifact import LIVE_FILE, BundleError
from ml.labels import CLASSES
from ml.triage import Doubt, Urgency
from tests.bundles import small_bundle
from tests.world import World
from worker.analyst import MAKESHIFT, EnsembleAnalyst
from worker.screen_submission import screen


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    small_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def analyst(weights: Path) -> EnsembleAnalyst:
    return EnsembleAnalyst.load(weights)


PIXELS = np.random.default_rng(3).integers(0, 255, (90, 120, 3), dtype=np.uint8)


def test_pixels_become_probabilities_and_an_overlay_of_their_size(
    analyst: EnsembleAnalyst,
) -> None:
    (found,) = analyst.analyse([PIXELS])

    assert set(found.prediction.probabilities) == set(CLASSES)
    assert sum(found.prediction.probabilities.values()) == pytest.approx(1.0)
    ranked = [name for name, _ in found.prediction.ranked()]
    assert [one.label for one in found.maps] == ranked[:2]
    for one in found.maps:
        with Image.open(io.BytesIO(one.png)) as overlay:
            assert (overlay.format, overlay.size) == ("PNG", (120, 90))
            assert overlay.convert("RGBA").getchannel("A").getextrema()[0] < 255


def test_the_same_pixels_give_the_same_answer(analyst: EnsembleAnalyst, weights: Path) -> None:
    again = EnsembleAnalyst.load(weights)
    assert again.analyse([PIXELS]) == analyst.analyse([PIXELS])
    assert again.fingerprint == analyst.fingerprint
    assert analyst.version == "test-1"


def test_without_an_analysis_nothing_is_invented(analyst: EnsembleAnalyst) -> None:
    found = analyst.triage(None, score=0, strong_concern=False, tone_doubt=None)
    assert found.urgency is Urgency.SUSPICIOUS
    assert "refused" in found.reasons[0]
    assert (
        analyst.triage(None, score=3, strong_concern=False, tone_doubt=None).urgency
        is Urgency.URGENT
    )


def test_the_history_raises_the_urgency_of_any_prediction(analyst: EnsembleAnalyst) -> None:
    (found,) = analyst.analyse([PIXELS])
    decided = analyst.triage(found, score=0, strong_concern=True, tone_doubt=None)
    assert decided.urgency is Urgency.URGENT


def test_a_tone_outside_the_evidence_is_told_among_the_reasons(analyst: EnsembleAnalyst) -> None:
    (found,) = analyst.analyse([PIXELS])
    decided = analyst.triage(found, score=0, strong_concern=False, tone_doubt="A tone.")
    assert "A tone." in decided.reasons
    assert Doubt.SKIN_TONE in decided.doubts


def test_a_case_goes_through_the_real_ensemble(world: World, analyst: EnsembleAnalyst) -> None:
    case = world.submit(world.alice)
    assert screen(world.screening(analyst=analyst), case) == 1


def test_the_result_says_what_computed_it_and_on_what(world: World, weights: Path) -> None:
    case = world.submit(world.alice)
    screen(world.screening(analyst=EnsembleAnalyst.load(weights, device="cpu")), case)
    with world.sessions() as session:
        found = review.result_of(session, case)
    assert found is not None
    assert found.device == "cpu"
    assert found.engine


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test misses")
def test_for_want_of_the_gpu_the_processor_works_and_says_so(weights: Path) -> None:
    makeshift = EnsembleAnalyst.load(weights, device="cuda")
    assert makeshift.device == f"cpu{MAKESHIFT}"
    assert makeshift.analyse([PIXELS])[0].prediction.probabilities


def damaged(folder: Path) -> str:
    path = folder / "test-1" / "basic_cnn.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    return path.name


def missing(folder: Path) -> str:
    (folder / "test-1" / "basic_cnn.safetensors").unlink()
    return "basic_cnn.safetensors"


def foreign_manifest(folder: Path) -> str:
    (folder / "test-1" / "manifest.json").write_text('{"format": 99}', encoding="utf-8")
    return "manifest.json"


def no_manifest(folder: Path) -> str:
    (folder / "test-1" / "manifest.json").write_bytes(b"\xff\xfe\x00")
    return "manifest.json"


def nothing_live(folder: Path) -> str:
    (folder / LIVE_FILE).unlink()
    return LIVE_FILE


def live_leads_away(folder: Path) -> str:
    (folder / LIVE_FILE).write_text("../elsewhere\n", encoding="utf-8")
    return LIVE_FILE


def live_is_no_text(folder: Path) -> str:
    (folder / LIVE_FILE).write_bytes(b"\xff\xfe\x00")
    return LIVE_FILE


HARMS = [
    *(damaged, missing, foreign_manifest, no_manifest),
    *(nothing_live, live_leads_away, live_is_no_text),
]


@pytest.mark.parametrize("harm", HARMS, ids=lambda one: one.__name__)
def test_weights_that_cannot_be_used_are_refused_by_name(tmp_path: Path, harm: object) -> None:
    small_bundle(tmp_path)
    named = harm(tmp_path)  # type: ignore[operator]
    with pytest.raises(BundleError, match=named):
        EnsembleAnalyst.check(tmp_path)
