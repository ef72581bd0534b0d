"""The quota of photos holds its patient's row, and yet stands in nobody's way."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from clinic.consent import ConsentDecision, Purpose
from clinic.records import consents
from clinic.records.upload_quota import PHOTOS_PER_DAY, photos_left
from tests.world import World


def test_photos_of_the_last_day_count(world: World) -> None:
    patient = world.alice.patient_id or ""
    world.submit(world.alice)

    with world.sessions() as session:
        assert photos_left(session, patient) == PHOTOS_PER_DAY - 1
        assert photos_left(session, world.carol.patient_id or "") == PHOTOS_PER_DAY


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_while_an_upload_counts_another_waits_but_a_row_of_the_patient_is_written(
    world: World,
) -> None:
    """A worker's claim and an upload of the same form would else wait for each other."""
    patient = world.alice.patient_id or ""
    with world.sessions() as counting, world.sessions() as other:
        photos_left(counting, patient)
        other.execute(text("SET lock_timeout = '300ms'"))

        consents.record(other, patient, [ConsentDecision(Purpose.TEACHING, permitted=True)])
        with pytest.raises(OperationalError, match="lock timeout"):
            photos_left(other, patient)
