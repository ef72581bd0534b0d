"""What the operator looks at."""

from datetime import timedelta

from clinic.records import keys, operations, screening_queue
from clinic.records.models import AuditHead
from tests.world import World


def test_depths_count_cases_by_state_and_urgency(world: World) -> None:
    world.screened(world.alice)
    oldest = world.submit(world.alice)
    world.submit(world.carol)

    with world.sessions() as session:
        found = {depth.state: depth for depth in operations.depths(session)}
        row = session.get_one(screening_queue.Submission, oldest)

    assert found["screening: queued"].by_urgency == {None: 2}
    assert found["screening: queued"].oldest == row.received_at
    assert found["screening: running"].by_urgency == {}
    assert found["screening: running"].oldest is None
    assert found["case: awaiting review"].by_urgency == {2: 1}
    assert found["case: unreadable"].by_urgency == {}


def test_cases_without_the_computer_s_view_are_listed_until_they_are_read(world: World) -> None:
    case = world.submit(world.alice)
    world.submit(world.carol)
    with world.sessions() as session, session.begin():
        (held,) = screening_queue.claim_batch(
            session, hint=case, lease=timedelta(seconds=30), limit=1
        )
        assert held is not None
        screening_queue.give_up(session, held, reason="poison")
    with world.sessions() as session:
        (found,) = operations.dead_cases(session, limit=10)
        assert (found.id, found.last_failure) == (case, "poison")
        assert operations.dead_cases(session, limit=0) == []


def test_the_newest_process_of_each_program_is_shown(world: World) -> None:
    with world.sessions() as session, session.begin():
        for program in ("worker", "web", "worker"):
            last = keys.enrol_process(session, b"s", program=program)
    with world.sessions() as session:
        found = operations.newest_processes(session)
    assert set(found) == {"worker", "web"}
    assert found["worker"].id == last.id


def test_audit_entries_are_counted(world: World) -> None:
    with world.sessions() as session:
        before = operations.audit_entries(session)
    world.screened(world.alice)
    with world.sessions() as session:
        after = operations.audit_entries(session)
        assert after == session.get_one(AuditHead, 1).sequence
    assert (before, after) == (0, 2)
