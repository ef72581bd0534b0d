"""The whole way of a photo with an object store in place of the folder: the real programs."""

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from clinic.access import Role
from tests.bundles import small_bundle
from tests.world import PHOTO
from tools.demo import HISTORY
from tools.installation import Installation
from tools.object_store import ObjectStore
from tools.portal_client import PortalClient
from tools.ports import free_port
from tools.running import Running, started

PREFIX = "photos-in-a-bucket"  # the suite shares one bucket

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def running(tmp_path: Path, object_store: ObjectStore) -> Iterator[Running]:
    installation = Installation(
        tmp_path / "clinic",
        free_port(),
        free_port(),
        tmp_path / "weights",
        bucket=object_store.settings(PREFIX),
    )
    small_bundle(installation.weights)
    with started(installation) as found:
        yield found
    installation.engine.dispose()


def test_a_photo_is_sent_analysed_and_seen_and_only_ciphertext_lies_in_the_bucket(
    running: Running, object_store: ObjectStore
) -> None:
    patient, reader = (running.people[role] for role in (Role.PATIENT, Role.DERMATOLOGIST))
    url = running.installation.base_url
    with closing(PortalClient(url)) as browser, closing(PortalClient(url)) as desk:
        browser.sign_in(patient.email, patient.password)
        case = browser.send_case(HISTORY, {"close_up": PHOTO})
        running.await_result(case)

        desk.sign_in(reader.email, reader.password)
        queue = desk.prove_second_factor(reader.totp_secret or "")
        page = desk.post(f"/review/{case}/claim", {}, page=queue)
        first_read = {"impression": "nv", "confidence": "low", "urgency": "routine"}
        page = desk.post(f"/review/{case}/first-read", first_read, page=page)
        pictures = {one.kind: one.data for one in desk.pictures(case, page=page)}

    sizes = [Image.open(io.BytesIO(data)).size for data in pictures.values()]
    assert pictures.keys() == {"rendition", "heatmap"}
    assert sizes == [Image.open(io.BytesIO(PHOTO)).size] * 2
    stored = bodies(object_store, f"{PREFIX}/")
    assert len(stored) == 4, "the photo, its rendition and two heat-maps"
    for body in stored:
        assert not {PHOTO[:64], pictures["rendition"][:64], pictures["heatmap"][:64]} & {body[:64]}
        assert PHOTO[1000:1100] not in body
    assert not list((running.installation.folder / "blobs").rglob("*"))
    assert object_store.secret_key not in logs(running)


def bodies(object_store: ObjectStore, prefix: str) -> list[bytes]:
    client, bucket = object_store.client, object_store.bucket
    listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    return [client.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed]


def logs(running: Running) -> str:
    return "".join(one.log.read_text(errors="replace") for one in running.supervisor.programs)
