from datetime import UTC, datetime

import pytest
from flask import Flask

from clinic.records.models import Clinic
from tests.world import World
from web.local_clinic import local

SUMMER_EVENING = datetime(2027, 7, 1, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "shown"), [("Europe/London", "02 00:30"), ("Asia/Kolkata", "02 05:00")]
)
def test_a_page_shows_the_clinic_s_own_clock(
    app: Flask, world: World, zone: str, shown: str
) -> None:
    with world.sessions() as session, session.begin():
        session.get_one(Clinic, world.clinic_id).time_zone = zone

    with app.test_request_context():
        assert local(SUMMER_EVENING).strftime("%d %H:%M") == shown


def test_without_a_clinic_the_time_is_utc(app: Flask) -> None:
    with app.app_context():
        assert local(SUMMER_EVENING) == SUMMER_EVENING
        assert local(SUMMER_EVENING).tzinfo is UTC
