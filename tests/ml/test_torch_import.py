import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ml.torch_import import torchvision_models

ROOT = Path(__file__).parents[2]


def test_torchvision_can_be_imported_and_asked_twice():
    assert torchvision_models() is torchvision_models()
    assert hasattr(torchvision_models(), "efficientnet_b0")


@pytest.mark.slow
def test_operators_that_are_there_already_are_left_alone():
    program = (
        "import torch\n"
        "kept = torch.library.Library('torchvision', 'DEF')\n"
        "kept.define('nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "from ml.torch_import import torchvision_models\n"
        "print(torchvision_models().__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "torchvision.models"


def test_the_declared_operators_stay_declared():
    torchvision_models()
    assert hasattr(torch.ops.torchvision, "nms")
