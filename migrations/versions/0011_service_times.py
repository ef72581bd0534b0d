"""Service times of each clinic, escalations, hand-overs, and when a patient was told"""

import sqlalchemy as sa
from alembic import op

from clinic.records.db import UtcDateTime


revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None

OPEN = "case_state = 'awaiting_review'"
WAITING = "case_state = 'unreadable'"
LOOK_AT_ONCE = '1970-01-01 00:00:00.000000'
KINDS = (
    'new device', 'password changed', 'factor added', 'factor removed', 'recovery code used',
    'email changed', 'password reset', 'email change', 'registration', 'address taken',
)
NEW_KINDS = ('cases nearly due', 'cases overdue', 'case handed over')


def upgrade() -> None:
    op.create_table('service_limit',
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('clock', sa.String(length=20), nullable=False),
    sa.Column('working_days', sa.Integer(), nullable=False),
    sa.CheckConstraint(
        "clock IN ('urgent', 'suspicious', 'routine', 'retake', 'told')",
        name='service_limit_clock_is_known',
    ),
    sa.CheckConstraint('working_days BETWEEN 1 AND 60', name='service_limit_is_possible'),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.PrimaryKeyConstraint('clinic_id', 'clock')
    )
    op.create_table('escalation_contact',
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('account_id', sa.String(length=32), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.PrimaryKeyConstraint('clinic_id', 'account_id')
    )
    op.create_table('escalation',
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('promise', sa.String(length=10), nullable=False),
    sa.Column('level', sa.String(length=10), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('due_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('told', sa.JSON(), nullable=False),
    sa.CheckConstraint(
        "promise IN ('read', 'told', 'cancer')", name='escalation_promise_is_known'
    ),
    sa.CheckConstraint("level IN ('warning', 'breach')", name='escalation_level_is_known'),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.PrimaryKeyConstraint('submission_id', 'promise', 'level')
    )
    op.create_index('escalation_of_clinic', 'escalation', ['clinic_id', 'at'], unique=False)
    op.create_table('hand_over',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('from_id', sa.String(length=32), nullable=False),
    sa.Column('to_id', sa.String(length=32), nullable=True),
    sa.Column('reason', sa.String(length=20), nullable=False),
    sa.Column('at', UtcDateTime(timezone=True), nullable=False),
    sa.CheckConstraint(
        "reason IN ('end_of_shift', 'other_expertise', 'conflict', 'mistake')",
        name='hand_over_reason_is_known',
    ),
    sa.CheckConstraint('to_id IS NULL OR to_id <> from_id', name='hand_over_is_to_another'),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.ForeignKeyConstraint(['from_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.ForeignKeyConstraint(['to_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_hand_over_submission_id', 'hand_over', ['submission_id'], unique=False)

    op.add_column('submission', sa.Column('told_by', UtcDateTime(timezone=True), nullable=True))
    op.add_column('submission', sa.Column('told_at', UtcDateTime(timezone=True), nullable=True))
    # What an earlier version's portal adds is looked at at once; what is signed already, never.
    op.add_column(
        'submission',
        sa.Column(
            'escalate_at', UtcDateTime(timezone=True), nullable=True, server_default=LOOK_AT_ONCE
        ),
    )
    op.execute("UPDATE submission SET escalate_at = NULL WHERE case_state = 'signed'")
    for name, columns, where in (
        ('submission_review_by_site', ['clinic_id', 'body_site', 'urgency', 'due_at', 'id'], OPEN),
        ('submission_waiting_for_photos', ['clinic_id', 'due_at', 'id'], WAITING),
        ('submission_to_escalate', ['escalate_at'], 'escalate_at IS NOT NULL'),
    ):
        condition = sa.text(where)
        op.create_index(
            name, 'submission', columns, postgresql_where=condition, sqlite_where=condition
        )
    _change_kinds(KINDS, KINDS + NEW_KINDS)


def downgrade() -> None:
    words = ', '.join(f"'{kind}'" for kind in NEW_KINDS)
    op.execute(f'DELETE FROM notice WHERE kind IN ({words})')
    _change_kinds(KINDS + NEW_KINDS, KINDS)
    for name in (
        'submission_to_escalate', 'submission_waiting_for_photos', 'submission_review_by_site'
    ):
        op.drop_index(name, 'submission')
    for column in ('escalate_at', 'told_at', 'told_by'):
        op.drop_column('submission', column)
    for table in ('hand_over', 'escalation', 'escalation_contact', 'service_limit'):
        op.drop_table(table)


def _change_kinds(old: tuple[str, ...], new: tuple[str, ...]) -> None:
    """Change the CHECK on kinds of notices; what SQLite wrote down of it is changed in place, as
    in 0008.
    """
    before, after = (
        'kind IN (' + ', '.join(f"'{kind}'" for kind in kinds) + ')' for kinds in (old, new)
    )
    if op.get_bind().dialect.name != 'sqlite':
        op.drop_constraint('notice_kind_is_known', 'notice', type_='check')
        op.create_check_constraint('notice_kind_is_known', 'notice', after)
        return
    connection = op.get_bind()
    version = connection.exec_driver_sql('PRAGMA schema_version').scalar_one()
    connection.exec_driver_sql('PRAGMA writable_schema = ON')
    connection.exec_driver_sql(
        "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'notice'",
        (before, after),
    )
    connection.exec_driver_sql(f'PRAGMA schema_version = {version + 1}')
    connection.exec_driver_sql('PRAGMA writable_schema = OFF')
