import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.non_skin import non_skin_pictures
from ml.outlier import OutlierDetector, appearance, appearances_of
from ml.outlier_fit import fit_outlier_detector
from tools.lesion_drawing import draw_lesion


@pytest.fixture(scope="module")
def photos():
    return [np.asarray(draw_lesion(seed, (120, 90))) for seed in range(60)]


@pytest.fixture(scope="module")
def pooled():
    """Points near a plane in ten dimensions."""
    random = np.random.default_rng(0)
    return random.normal(size=(60, 2)) @ random.normal(size=(2, 10)) + random.normal(
        scale=0.01, size=(60, 10)
    )


@pytest.fixture(scope="module")
def detector(photos, pooled):
    return fit_outlier_detector(
        pooled=pooled[:40],
        photos=photos[:40],
        held_out_pooled=pooled[40:50],
        held_out_photos=photos[40:50],
    )


def test_common_photos_score_about_nought(detector, photos, pooled):
    scores = detector.scores(pooled[50:], appearances_of(photos[50:]))
    assert abs(np.median(scores)) < 3.0


def test_pictures_without_skin_score_above_every_drawn_lesion(detector, photos, pooled):
    """By their looks alone: each borrows the features of a lesion."""
    real = detector.scores(pooled[50:], appearances_of(photos[50:]))
    for kind, pictures in non_skin_pictures().items():
        chosen = list(pictures.values())[:10]
        strange = detector.scores(pooled[50:][: len(chosen)], appearances_of(chosen))
        area = roc_auc_score(np.r_[np.zeros(len(real)), np.ones(len(strange))], [*real, *strange])
        assert area > 0.98, kind


def test_features_off_the_main_directions_score_high(pooled, photos):
    detector = fit_outlier_detector(
        pooled=pooled[:3], photos=photos[:40], held_out_pooled=pooled[3:9], held_out_photos=photos
    )
    far = pooled[:1] + 100.0 * np.eye(10)[:1]
    assert (
        detector.scores(far, appearances_of(photos[:1]))[0]
        > detector.scores(pooled[:1], appearances_of(photos[:1]))[0] + 5.0
    )


def test_what_is_written_reads_back_and_scores_alike(detector, photos, pooled):
    again = OutlierDetector.from_bytes(detector.to_bytes())
    expected = detector.scores(pooled[:5], appearances_of(photos[:5]))
    assert again.scores(pooled[:5], appearances_of(photos[:5])) == pytest.approx(expected, abs=0.05)


def test_the_appearance_of_a_blank_frame_is_finite():
    assert np.isfinite(appearance(np.zeros((30, 40, 3), np.uint8))).all()
