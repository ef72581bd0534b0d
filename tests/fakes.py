"""Stand-ins for unit tests: hints that are carried out at once, an ensemble that only pretends."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clinic.hints import ANSWER_KEY_REQUEST, SETTLE_PATIENT, BrokerDownError
from ml.focus import Focus
from ml.labels import CLASSES
from ml.prediction import Prediction
from ml.quality_flag import QualityFlag
from ml.triage import Policy, Triage, triage, triage_without_ai
from worker.analysis import Analysis, ClassMap
from worker.keeper import Keeper

POLICY = Policy(
    suspicious_malignant=0.2,
    urgent_malignant=0.6,
    low_confidence=0.4,
    high_spread=0.4,
    unusual=3.0,
    not_skin=9.0,
    abstain_cost=1.0,
)


@dataclass
class InlineHints:
    """Carries key hints out in the sender's thread; others are only noted."""

    keeper: Keeper | None = None
    down: bool = False
    sent: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def send(self, task: str, *ids: str) -> None:
        if self.down:
            raise BrokerDownError("the broker is down")
        self.sent.append((task, ids))
        if self.keeper is not None and task == ANSWER_KEY_REQUEST:
            self.keeper.answer(ids[0])
        if self.keeper is not None and task == SETTLE_PATIENT:
            self.keeper.settle(ids[0])


def prediction(top: str = "nv", share: float = 0.82) -> Prediction:
    rest = (1.0 - share) / (len(CLASSES) - 1)
    probabilities = {name: share if name == top else rest for name in CLASSES}
    members = {name: dict(probabilities) for name in ("basic_cnn", "efficientnet_b0")}
    return Prediction.of(probabilities=probabilities, members=members)


@dataclass
class FakeAnalyst:
    """Says what it was told to; `fault` is raised instead, as often as it is asked."""

    top: str = "nv"
    flags: tuple[QualityFlag, ...] = ()
    fault: Exception | None = None
    version: str = "fake-1"
    fingerprint: str = "f" * 64
    engine: str = "fake engine"
    device: str = "fake device"
    batch_size: int = 1
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def analyse(self, photos: Sequence[np.ndarray]) -> list[Analysis]:
        return [self.analyse_one(pixels) for pixels in photos]

    def analyse_one(self, pixels: np.ndarray) -> Analysis:
        self.seen.append(pixels.shape)
        if self.fault is not None:
            raise self.fault
        second = "nv" if self.top != "nv" else "bkl"
        maps = (
            ClassMap(self.top, Focus.UPPER_LEFT, b"\x89PNG heat-map"),
            ClassMap(second, Focus.CENTRE, b"\x89PNG another map"),
        )
        return Analysis(prediction(self.top), maps, self.flags)

    def triage(
        self,
        analysis: Analysis | None,
        *,
        score: int,
        strong_concern: bool,
        tone_doubt: str | None,
    ) -> Triage:
        if analysis is None:
            return triage_without_ai(
                "the patient refused it", seven_point_score=score, strong_concern=strong_concern
            )
        return triage(
            analysis.prediction,
            POLICY,
            quality_flags=analysis.quality_flags,
            seven_point_score=score,
            strong_concern=strong_concern,
            tone_doubt=tone_doubt,
        )
