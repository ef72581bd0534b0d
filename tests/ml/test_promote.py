"""Putting bundles in service and taking them out again, on small bundles with real files."""

import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from ml import promote as promotion
from ml.artifact import LIVE_FILE, BundleError, live_bundle, read_manifest, save_manifest
from ml.ensemble import Ensemble
from ml.label_table import Case
from ml.labels import CLASS_INDEX
from ml.live_history import HISTORY_FILE, Change, Served, Step, pile, read_history
from ml.out_of_fold import Held
from ml.promote import HeldOut, PromotionError, promote, roll_back
from tests.bundles import POLICY, write_bundle
from tools.lesion_drawing import draw_lesion

MELANOMAS = 8


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "weights"


@pytest.fixture
def held_out():
    """Eight drawn lesions that count as melanomas."""
    held = Held(
        [Case(f"P{seed}", f"L{seed}", CLASS_INDEX["mel"]) for seed in range(MELANOMAS)],
        [np.asarray(draw_lesion(seed, (64, 48))) for seed in range(MELANOMAS)],
    )
    return HeldOut(held, [{"sex": "female"}] * MELANOMAS)


def bundle(weights, version, *, temperature=1.0, suspicious=0.0):
    """A bundle that is not live. With `suspicious` at 0.0 its triage finds every photo."""
    policy = replace(
        POLICY, suspicious_malignant=suspicious, urgent_malignant=1.0, low_confidence=0.0
    )
    sizes = {"basic_cnn": 32}
    return write_bundle(weights / version, sizes, policy=policy, temperature=temperature)


def served(folder):
    return Served(folder.name, read_manifest(folder)[1])


def unread():
    raise AssertionError("the held-out photos were read")


@pytest.fixture
def live(weights):
    """The first bundle, promoted."""
    folder = bundle(weights, "one")
    promote(weights, "one", unread)
    return folder


def test_the_first_bundle_is_promoted_after_a_check_of_its_hashes_alone(weights):
    folder = bundle(weights, "one")
    step = promote(weights, "one", unread)
    assert live_bundle(weights) == folder
    assert (step.before, step.after) == (None, served(folder))
    assert read_history(weights) == [step]


def test_a_candidate_that_holds_all_figures_is_promoted_and_written_down(
    weights, live, held_out, capsys
):
    candidate = bundle(weights, "two", temperature=2.0)
    promote(weights, "two", lambda: held_out)
    assert live_bundle(weights) == candidate
    step = read_history(weights)[-1]
    assert (step.change, step.before, step.after) == (
        Change.PROMOTED,
        served(live),
        served(candidate),
    )
    assert step.time.endswith("+00:00")
    assert step.figures[0]["what"] == "melanoma sensitivity"
    assert step.figures[0]["candidate"] == 1.0
    table = capsys.readouterr().out
    assert "melanoma sensitivity" in table
    assert "holds" in table


def test_a_candidate_that_misses_melanomas_is_refused_and_live_stays(
    weights, live, held_out, capsys
):
    bundle(weights, "two", suspicious=1.0)
    with pytest.raises(PromotionError, match=r"two is refused.*melanoma sensitivity.*one stays"):
        promote(weights, "two", lambda: held_out)
    assert live_bundle(weights) == live
    assert len(read_history(weights)) == 1
    assert "fallen" in capsys.readouterr().out


def test_a_rollback_restores_identical_outputs(weights, live, held_out):
    def outputs():
        """What the service would say, to the last bit."""
        analyses = Ensemble.load(live_bundle(weights)).analyse(held_out.held.photos)
        return [(repr(each.prediction), each.maps[0].heatmap.tobytes()) for each in analyses]

    bundle(weights, "two", temperature=2.0)
    before = outputs()
    promote(weights, "two", lambda: held_out)
    between = outputs()
    step = roll_back(weights)
    assert outputs() == before
    assert between != before
    assert (step.change, step.after) == (Change.ROLLED_BACK, served(live))


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("whose", ["one", "two"])
def test_a_damaged_bundle_is_neither_promoted_nor_brought_back(weights, held_out, whose):
    bundle(weights, "two", temperature=2.0)
    if whose == "one":
        promote(weights, "two", lambda: held_out)
    pointer, history = ((weights / name).read_bytes() for name in (LIVE_FILE, HISTORY_FILE))
    file = weights / whose / "basic_cnn.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(BundleError, match="sha256"):
        roll_back(weights) if whose == "one" else promote(weights, "two", lambda: held_out)

    assert (weights / LIVE_FILE).read_bytes() == pointer
    assert (weights / HISTORY_FILE).read_bytes() == history


def test_a_former_bundle_whose_manifest_was_edited_is_not_brought_back(weights, live, held_out):
    bundle(weights, "two", temperature=2.0)
    promote(weights, "two", lambda: held_out)
    save_manifest(live, replace(read_manifest(live)[0], temperature=9.0))
    with pytest.raises(PromotionError, match="not the one that served"):
        roll_back(weights)
    assert live_bundle(weights).name == "two"


def test_a_rollback_needs_nothing_of_the_bundle_that_it_takes_out(weights, live, held_out):
    candidate = bundle(weights, "two", temperature=2.0)
    promote(weights, "two", lambda: held_out)
    before = served(candidate)
    for file in candidate.iterdir():
        file.unlink()
    assert roll_back(weights).before == before
    assert live_bundle(weights) == live


def test_without_a_former_bundle_there_is_nothing_to_roll_back(weights, live):
    with pytest.raises(PromotionError, match="nothing is known to have served before one"):
        roll_back(weights)
    assert live_bundle(weights) == live


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("version", ["three", "../weights/one", "", "."])
def test_only_a_bundle_beside_live_can_be_promoted(weights, version):
    with pytest.raises(PromotionError, match=r"no bundle .* there are: one"):
        promote(weights, version, unread)


@pytest.mark.usefixtures("live")
def test_the_live_bundle_is_not_promoted_again(weights):
    with pytest.raises(PromotionError, match="one is live already"):
        promote(weights, "one", unread)
    assert len(read_history(weights)) == 1


def test_a_name_that_the_service_would_refuse_never_becomes_live(weights):
    bundle(weights, "a b")
    with pytest.raises(BundleError, match="must hold the name of one folder"):
        promote(weights, "a b", unread)
    assert sorted(path.name for path in weights.iterdir()) == ["a b"]


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize("line", ["{", "[]", '{"time": "now"}'])
def test_a_damaged_history_is_named(weights, line):
    (weights / HISTORY_FILE).write_text(line + "\n")
    with pytest.raises(BundleError, match="HISTORY is damaged"):
        roll_back(weights)


A, B, C = (Served(name, name * 64) for name in "ABC")


def promoted(before, after):
    return Step(time="t", change=Change.PROMOTED, before=before, after=after)


def rolled_back(before, after):
    return Step(time="t", change=Change.ROLLED_BACK, before=before, after=after)


FIRST, AB, BA, AC = promoted(None, A), promoted(A, B), promoted(B, A), promoted(A, C)


@pytest.mark.parametrize(
    ("history", "live", "expected"),
    [
        ([], "A", None),
        ([FIRST], "A", None),
        ([AB], "B", A),
        ([FIRST, AB], "B", A),
        ([FIRST, AB, rolled_back(B, A)], "A", None),
        ([FIRST, AB, rolled_back(B, A), AC], "C", A),
        ([FIRST, AB, BA], "A", B),
        ([FIRST, AB, BA, rolled_back(A, B)], "B", A),
        ([FIRST, AB], "A", None),  # the second line never reached LIVE
        ([FIRST, AB, AC], "C", A),  # neither did the second of these
        ([FIRST, AB], "X", None),  # LIVE was written by hand, and nothing is known of X
    ],
)
def test_a_rollback_goes_one_promotion_back(history, live, expected):
    below = pile(history, live)[:-1]
    assert (below[-1] if below else None) == expected


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["ml.promote", *map(str, arguments)])
    promotion.main()


def test_the_commands_promote_and_roll_back(weights, live, held_out, monkeypatch, capsys):
    bundle(weights, "two", temperature=2.0)
    monkeypatch.setattr(promotion, "read_held_out", lambda **_: held_out)
    run(monkeypatch, "two", "--weights", weights)
    assert "two is live" in capsys.readouterr().out
    run(monkeypatch, "--rollback", "--weights", weights)
    assert "one is live" in capsys.readouterr().out
    assert live_bundle(weights) == live


def test_the_command_says_why_it_refuses(weights, live, held_out, monkeypatch):
    bundle(weights, "two", suspicious=1.0)
    monkeypatch.setattr(promotion, "read_held_out", lambda **_: held_out)
    with pytest.raises(SystemExit, match=r"ml\.promote: two is refused: below the live bundle"):
        run(monkeypatch, "two", "--weights", weights)
    assert live_bundle(weights) == live


@pytest.mark.parametrize("arguments", [[], ["two", "--rollback"], ["two", "--force", "reason"]])
def test_there_is_no_other_way_to_call_it(weights, live, monkeypatch, arguments):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments, "--weights", weights)
    assert ended.value.code == 2
    assert live_bundle(weights) == live


def test_the_held_out_photos_are_the_reporting_half_with_their_groups(monkeypatch, tmp_path):
    rows = ["L1,A,mel,histo,45.0,male,back", "L2,B,nv,histo,,,", "L3,C,nv,histo,20,female,face"]
    metadata = tmp_path / "metadata.csv"
    metadata.write_text("lesion_id,image_id,dx,dx_type,age,sex,localization\n" + "\n".join(rows))
    images = tmp_path / "images"
    images.mkdir()
    for number, name in enumerate("ABC"):
        draw_lesion(number, (200, 150)).save(images / f"{name}.png")
    folds = tmp_path / "folds.csv"
    places = ["A,L1,0,report", "B,L2,0,calibrate", "C,L3,1,report"]
    folds.write_text("image_id,lesion_id,fold,half\n" + "\n".join(places))
    monkeypatch.setattr(promotion, "read_folds", partial(promotion.read_folds, folds))
    found = promotion.read_held_out(images=images, metadata=metadata, cache=tmp_path / "cache")
    assert found.held.cases == [Case("A", "L1", CLASS_INDEX["mel"])]
    assert [photo.shape for photo in found.held.photos] == [(150, 150, 3)]
    assert found.subgroups == [{"sex": "male", "age band": "30-49", "body site": "back"}]
