"""Turns the browser test's screenshots into the small pictures of README: cropped, few colours."""

import sys
from pathlib import Path

from PIL import Image

from tools.installation import ROOT

SCREENSHOTS = ROOT / "runs" / "screenshots"
PICTURES = ROOT / "docs" / "img"
TALLEST = {"patient-result": 1200, "review-desk": 1400, "dashboard-phone": 900}
COLOURS = 128


def main() -> int:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, tallest in TALLEST.items():
        shrink(SCREENSHOTS / f"{name}.png", PICTURES / f"{name}.png", tallest=tallest)
    return 0


def shrink(source: Path, target: Path, *, tallest: int) -> None:
    with Image.open(source) as image:
        top = image.convert("RGB").crop((0, 0, image.width, min(image.height, tallest)))
    top.quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
