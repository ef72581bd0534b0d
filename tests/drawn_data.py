"""A small data set in the layout of HAM10000, drawn by a program: ten lesions of each class."""

import csv
from pathlib import Path

from ml.folds import METADATA_NAME, make_folds, read_metadata, write_folds
from ml.labels import CLASSES
from tools.lesion_drawing import draw_lesion

SIZE = (100, 75)
LESIONS = 70


def write_drawn_data(root: Path) -> Path:
    """Image ISIC_n of lesion HAM_n for seventy n, with metadata and folds; the folder."""
    root.mkdir(parents=True)
    with (root / METADATA_NAME).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("lesion_id", "image_id", "dx"))
        for number in range(LESIONS):
            name = CLASSES[number % len(CLASSES)]
            writer.writerow((f"HAM_{number}", f"ISIC_{number}", name))
            draw_lesion(number, SIZE).save(root / f"ISIC_{number}.jpg")
    write_folds(make_folds(read_metadata(root / METADATA_NAME)), root / "folds.csv")
    return root
