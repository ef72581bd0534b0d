"""Signed cases of training manifests, decoded: they are learnt from and never judged on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ml.dataset import Images, decode_files
from ml.folds import LeakError, Place, Record
from ml.image_source import ImageFile
from ml.labels import CLASS_INDEX
from ml.training_manifest import TrainingCase, TrainingManifestError, read_training_manifest

_NAMED: Final = 10


@dataclass(frozen=True)
class AddedCases:
    """The cases of one manifest."""

    manifest: Path
    records: list[Record]
    images: Images


def read_added_cases(paths: Sequence[Path], places: Mapping[str, Place]) -> list[AddedCases]:
    """Cases of the manifests, checked against the folds and against each other.

    Raises:
        TrainingManifestError: a manifest is damaged or names no case, or an image stands in two.
        LeakError: an image or a lesion stands in the folds, where each is held out in its turn.
        ImageDataError: photos that cannot be decoded, by name.

    """
    taken: set[str] = set()
    added = []
    for path in paths:
        cases = read_training_manifest(path)
        if not cases:
            raise TrainingManifestError(f"{path} names no case: leave it out")
        _check_apart(path, cases, places)
        for case in cases:
            if case.image_id in taken:
                raise TrainingManifestError(f"{path} names {case.image_id} again: keep one of them")
            taken.add(case.image_id)
        added.append(_decoded(path, cases))
    return added


def _check_apart(path: Path, cases: Sequence[TrainingCase], places: Mapping[str, Place]) -> None:
    lesions = {place.lesion_id for place in places.values()}
    known = [
        case.image_id for case in cases if case.image_id in places or case.lesion_id in lesions
    ]
    if known:
        raise LeakError(
            f"{path}: {', '.join(known[:_NAMED])} have the image or lesion id of a case that is "
            "held out for judging; take them out of the manifest"
        )


def _decoded(path: Path, cases: Sequence[TrainingCase]) -> AddedCases:
    records = [Record(case.image_id, case.lesion_id, CLASS_INDEX[case.dx]) for case in cases]
    files = {case.image_id: [ImageFile(str(path.parent / case.file))] for case in cases}
    return AddedCases(
        manifest=path, records=records, images=decode_files(records, files, path.parent)
    )
