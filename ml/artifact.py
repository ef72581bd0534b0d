"""The bundle: one safetensors file (fp16) per member, one for outliers, a manifest of the hashes.

Nothing is loaded that the manifest does not name with the right sha256, and no pickle is read.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import safetensors
from safetensors.torch import load, save
from torch import Tensor

from ml.combine import Rule
from ml.conformal import Conformal
from ml.labels import CLASSES
from ml.members import MEMBERS, MemberConfig, PooledClassifier, build_member
from ml.outlier import OutlierDetector
from ml.quality import QualityThresholds
from ml.triage import Policy

T = TypeVar("T")
WEIGHTS: Final = Path(__file__).with_name("weights")
MANIFEST_FILE: Final = "manifest.json"
LIVE_FILE: Final = "LIVE"
OUTLIER_FILE: Final = "outlier.safetensors"
FORMAT: Final = 2
_FOLDER_NAME: Final = re.compile(r"\w[\w.-]*", re.ASCII)


class BundleError(Exception):
    """The bundle cannot be used; the message names the file and says what to do."""


@dataclass(frozen=True, kw_only=True)
class MemberEntry:
    """One member of a bundle.

    `vote`: its weight in the mean. `cam_scale`: the class activation that counts as full evidence.
    """

    config: MemberConfig
    file: str
    sha256: str
    vote: float
    cam_scale: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle holds and how its answers are to be read."""

    version: str
    members: tuple[MemberEntry, ...]
    outlier_sha256: str
    prevalence: dict[str, float]
    prevalence_power: float
    named_power: float
    temperature: float
    conformal: Conformal
    policy: Policy
    quality: QualityThresholds
    metrics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def rule(self) -> Rule:
        """How the members' answers become one."""
        return Rule(
            votes={entry.config.name: entry.vote for entry in self.members},
            prevalence=self.prevalence,
            prevalence_power=self.prevalence_power,
            named_power=self.named_power,
            temperature=self.temperature,
            conformal=self.conformal,
        )


def live_bundle(weights: Path = WEIGHTS) -> Path:
    """Return the folder of the bundle in service, as the file LIVE names it."""
    pointer = weights / LIVE_FILE
    if not pointer.is_file():
        raise BundleError(f"{pointer} is missing: restore it from the repository")
    version = pointer.read_text(encoding="utf-8", errors="replace").strip()
    if not _FOLDER_NAME.fullmatch(version):
        raise BundleError(f"{pointer} must hold the name of one folder beside it, not {version!r}")
    return weights / version


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror}): restore the bundle from the repository, "
            "or train one with `python -m ml.train` and `python -m ml.bundle`"
        ) from error


def _only(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a dataclass from exactly its fields."""
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    if set(values) != names:
        raise ValueError(f"{kind.__name__} needs the fields {sorted(names)}")
    return kind(**values)


def _member_entry(values: Mapping[str, Any]) -> MemberEntry:
    config = dict(values["config"])
    for name in ("mean", "std"):
        config[name] = tuple(float(value) for value in config[name])
    if config["name"] not in MEMBERS:
        raise ValueError(f"the member {config['name']!r} is not known")
    if Path(values["file"]).name != values["file"]:
        raise ValueError(f"the file {values['file']!r} lies outside the bundle")
    return _only(MemberEntry, {**values, "config": _only(MemberConfig, config)})


def _parse(values: Mapping[str, Any]) -> Manifest:
    if values["format"] != FORMAT:
        raise ValueError(f"format {values['format']} is not format {FORMAT}")
    if tuple(values["classes"]) != CLASSES:
        raise ValueError(f"its classes {values['classes']} are not {list(CLASSES)}")
    if not values["members"]:
        raise ValueError("it names no member")
    return Manifest(
        version=values["version"],
        members=tuple(_member_entry(entry) for entry in values["members"]),
        outlier_sha256=values["outlier_sha256"],
        prevalence={name: float(values["prevalence"][name]) for name in CLASSES},
        prevalence_power=float(values["prevalence_power"]),
        named_power=float(values["named_power"]),
        temperature=float(values["temperature"]),
        conformal=Conformal(**values["conformal"]),
        policy=_only(Policy, values["policy"]),
        quality=_only(QualityThresholds, values["quality"]),
        metrics=values["metrics"],
        provenance=values["provenance"],
    )


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Return the manifest and its fingerprint (sha256 of its bytes)."""
    path = folder / MANIFEST_FILE
    data = _read(path)
    try:
        manifest = _parse(json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{path} is no manifest of this program: {error}; use a bundle made by this version"
        ) from error
    return manifest, _sha256(data)


def _read_checked(path: Path, sha256: str) -> bytes:
    data = _read(path)
    if _sha256(data) != sha256:
        raise BundleError(
            f"{path} does not have the sha256 that its manifest names: the file is damaged or "
            "foreign; restore it from the repository"
        )
    return data


def _load_outlier(folder: Path, sha256: str) -> OutlierDetector:
    path = folder / OUTLIER_FILE
    data = _read_checked(path, sha256)
    try:
        return OutlierDetector.from_bytes(data)
    except (TypeError, safetensors.SafetensorError) as error:
        raise BundleError(f"{path} holds no outlier statistics: {error}") from error


def _load_member(folder: Path, entry: MemberEntry) -> PooledClassifier:
    path = folder / entry.file
    data = _read_checked(path, entry.sha256)
    member = build_member(entry.config)
    try:
        tensors = load(data)
        member.load_state_dict({name: _plain(tensor) for name, tensor in tensors.items()})
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise BundleError(f"{path} does not fit {entry.config.name}: {error}") from error
    return member.eval()


def _plain(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded bundle, members in evaluation mode; `fingerprint` is its manifest's sha256."""

    folder: Path
    manifest: Manifest
    fingerprint: str
    members: dict[str, PooledClassifier]
    outlier: OutlierDetector


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle, every hash checked; BundleError when anything is not as its manifest says."""
    manifest, fingerprint = read_manifest(folder)
    return Bundle(
        folder=folder,
        manifest=manifest,
        fingerprint=fingerprint,
        members={entry.config.name: _load_member(folder, entry) for entry in manifest.members},
        outlier=_load_outlier(folder, manifest.outlier_sha256),
    )


def save_member(
    folder: Path,
    *,
    config: MemberConfig,
    member: PooledClassifier,
    vote: float = 1.0,
    cam_scale: float = 1.0,
) -> MemberEntry:
    """Write one member in fp16 and return its entry for the manifest."""
    tensors = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in member.state_dict().items()
    }
    data = save(tensors)
    file = f"{config.name}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_bytes(data)
    return MemberEntry(
        config=config, file=file, sha256=_sha256(data), vote=vote, cam_scale=cam_scale
    )


def save_outlier(folder: Path, detector: OutlierDetector) -> str:
    """Write the statistics of outliers and return their sha256 for the manifest."""
    data = detector.to_bytes()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OUTLIER_FILE).write_bytes(data)
    return _sha256(data)


def save_manifest(folder: Path, manifest: Manifest) -> None:
    values = {"format": FORMAT, "classes": list(CLASSES), **asdict(manifest)}
    text = json.dumps(values, indent=2, sort_keys=True) + "\n"
    (folder / MANIFEST_FILE).write_text(text, encoding="utf-8")
