"""The portal applies the triage rule without the worker's packages."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def loaded_by(module):
    program = f"import sys, {module}; print(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["ml.focus", "ml.labels", "ml.prediction", "ml.triage"])
def test_rules_load_neither_torch_nor_numpy_nor_pillow(module):
    assert not loaded_by(module) & {"torch", "numpy", "PIL", "sklearn"}


def test_the_quality_gate_loads_no_torch():
    assert "torch" not in loaded_by("ml.quality")


def test_the_service_loads_neither_training_nor_scikit_learn():
    modules = loaded_by("ml.ensemble")
    assert not modules & {"ml.train", "ml.dataset", "ml.evaluate", "sklearn"}
