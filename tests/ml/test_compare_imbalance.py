import json
import sys

import pytest

from ml import compare_imbalance, members
from ml.imbalance import IMBALANCE
from tests.drawn_data import write_drawn_data


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two steps with each entry, on drawn data and with a small body."""
    root = tmp_path_factory.mktemp("compared")
    data = write_drawn_data(root / "data")
    words = ["--steps", "2", "--size", "32", "--out", str(root / "runs"), "--images", str(data)]
    words += ["--folds", str(data / "folds.csv"), "--cache", str(root / "cache")]
    words += ["--backbones", str(root), "--figures", str(root / "imbalance.json")]
    words += ["--table", str(root / "imbalance.md")]
    with pytest.MonkeyPatch.context() as patch:
        bodies = dict.fromkeys(members.MEMBERS, members._BODIES["basic_cnn"])
        patch.setattr(members, "_BODIES", bodies)
        patch.setattr(sys, "argv", ["ml.compare_imbalance", *words])
        compare_imbalance.main()
    return root


def test_every_entry_is_trained_with_the_same_start_seed_and_steps(compared):
    runs = {
        name: json.loads((compared / "runs" / name / "run.json").read_text()) for name in IMBALANCE
    }
    for name, run in runs.items():
        assert run["steps"] == 2
        assert run["provenance"]["imbalance"] == name
        assert run["config"]["input_size"] == 32
    origins = [run["provenance"] for run in runs.values()]
    for key in ("seed", "start", "start_sha256", "data_sha256", "held_out_fold", "versions"):
        assert len({json.dumps(origin[key]) for origin in origins}) == 1, key


def test_the_figures_say_how_they_were_made(compared):
    values = json.loads((compared / "imbalance.json").read_text())
    assert values["made"]["command"].startswith("python -m ml.compare_imbalance --steps 2")
    assert {"commit", "dirty", "device", "seed", "data_sha256"} <= set(values["made"])
    assert values["made"]["images"] == 7
    assert set(values["entries"]) == set(IMBALANCE)
    for figures in values["entries"].values():
        assert 0.0 <= figures["bma_interval"][0] <= figures["bma"] <= figures["bma_interval"][1]
        assert {"macro_auc", "melanoma_recall", "ece", "temperature"} <= set(figures)


def test_the_table_follows_from_the_figures(compared):
    values = json.loads((compared / "imbalance.json").read_text())
    text = (compared / "imbalance.md").read_text()
    assert text == "\n".join(compare_imbalance.table(values)) + "\n"
    assert "2 steps each" in text
    for name, figures in values["entries"].items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert f"{figures['bma']:.3f}" in line
    order = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    figures = [values["entries"][name]["bma"] for name in order]
    assert figures == sorted(figures, reverse=True)


def test_the_document_of_the_repository_is_made_from_its_figures():
    assert compare_imbalance.FIGURES.exists() == compare_imbalance.TABLE.exists()
    if compare_imbalance.FIGURES.exists():
        values = json.loads(compare_imbalance.FIGURES.read_text())
        made = "\n".join(compare_imbalance.table(values)) + "\n"
        assert compare_imbalance.TABLE.read_text() == made
