"""Faults that come with a photo: one that kills its decoder or its worker, one that is no photo."""

from clinic.photo_reject import RejectReason
from tools.chaos import photos
from tools.chaos.fault import Fault
from tools.chaos.injected import deadly_photo, poisoned_decoder
from tools.chaos.injection import injected
from tools.chaos.processes import frozen, resident_bytes
from tools.chaos.scene import Ending, Scene, ending_of
from worker.decode import DecodeLimits

DECODE_SECONDS = 10.0
POISON_SECONDS = 150.0
NOT_SET_ASIDE = "the poisoned photos were not set aside"
HOSTILE_SECONDS = 60.0
MARK_SEED = 900


def poison_the_decoder(scene: Scene) -> None:
    """Photos that crash, fill and hang their decoder, between good ones."""
    with injected(scene, "worker", "poisoned_decoder", DECODE_SECONDS):
        poisoned, mates = _sent_together(scene, poisoned_decoder.KINDS)
        scene.await_end_of(poisoned + mates, POISON_SECONDS, what=NOT_SET_ASIDE)
    for row in scene.rows(poisoned):
        scene.must(row.attempt == 3, f"A poisoned photo had {row.attempt} attempts and not 3.")
    for row in scene.rows(mates):
        scene.must(row.attempt == 1, "A poisoned photo cost a good one an attempt.")


def poison_the_worker(scene: Scene) -> None:
    """A photo that ends the process that holds the model, each time that it is opened."""
    with injected(scene, "worker", "deadly_photo"):
        deadly, mates = _sent_together(scene, (deadly_photo.MARKER,))
        scene.await_end_of(deadly + mates, POISON_SECONDS, what=NOT_SET_ASIDE)
    for row in scene.rows(mates):
        scene.must(row.attempt <= 2, f"A deadly photo cost a good one {row.attempt} attempts.")


def _sent_together(scene: Scene, markers: tuple[bytes, ...]) -> tuple[list[str], list[str]]:
    """Send a photo with each marker between two good ones, all before any of them is claimed."""
    bad = []
    with frozen(scene.program("worker")):
        mates = scene.submit(1)
        for place, marker in enumerate(markers):
            photo = photos.with_comment(MARK_SEED + place, marker)
            bad += scene.submit(1, photo)
        mates += scene.submit(1)
    for one in bad:
        scene.expect(one, Ending.DEAD, Ending.UNREADABLE)
    return bad, mates


def send_hostile_files(scene: Scene) -> None:
    """A bomb, a cut photo, other kinds of file; and a photo that is an archive as well."""
    photo = scene.photos[0].data
    refused = {
        _unreadable(scene, data): reason
        for data, reason in (
            (photos.bomb(), RejectReason.TOO_MANY_PIXELS),
            (photo[: len(photo) // 2], RejectReason.DAMAGED),
            (b"%PDF-1.7\n" + bytes(4096), RejectReason.NOT_A_PHOTO),
            (b"<!doctype html><script>alert(1)</script>", RejectReason.NOT_A_PHOTO),
            (photos.moving(), RejectReason.ANIMATED),
        )
    }
    (polyglot,) = scene.submit(1, photos.polyglot(photo))
    _watch_memory(scene, [*refused, polyglot])
    for case, reason in refused.items():
        words = scene.row(case).retake_reason or "nothing"
        scene.must(reason.sentence in words, f"Of a {reason} file the patient reads: {words}")
    patient = scene.cases[polyglot].patient
    shown = patient.pictures(polyglot, page=patient.get(f"/cases/{polyglot}"))
    scene.must(bool(shown), "The picture of the photo with an archive in it does not open.")
    hidden = any(photos.HIDDEN in one.data for one in shown)
    scene.must(not hidden, "What was hidden behind a photo is in the picture that people open.")


def _unreadable(scene: Scene, data: bytes) -> str:
    (case,) = scene.submit(1, data)
    scene.expect(case, Ending.UNREADABLE)
    return case


def _watch_memory(scene: Scene, cases: list[str]) -> None:
    """The worker and its decoders together stay below what they had and one decoder's limit."""
    worker = scene.program("worker")
    limit = resident_bytes(worker) + DecodeLimits().memory_bytes
    most = 0

    def ended() -> bool:
        nonlocal most
        most = max(most, resident_bytes(worker))
        return all(ending_of(row) for row in scene.rows(cases))

    scene.until(ended, HOSTILE_SECONDS, what="the hostile files were not set aside")
    scene.must(most < limit, f"The worker took {most >> 20} MiB; its limit was {limit >> 20} MiB.")


FAULTS = (
    Fault(
        9,
        "photo that crashes, fills or hangs its decoder",
        "set aside after 3 attempts; the photos beside it are analysed at the first",
        poison_the_decoder,
        cases_before=0,
        load_every=None,
    ),
    Fault(
        9,
        "photo that kills its worker",
        "set aside for people; the photos beside it are analysed",
        poison_the_worker,
        recover_seconds=90.0,
        cases_before=0,
        load_every=None,
    ),
    Fault(
        10,
        "bomb, cut photo, archive in a photo, other files",
        "the patient reads what to do; memory stays bounded; nothing hidden is passed on",
        send_hostile_files,
        load_every=None,
    ),
)
