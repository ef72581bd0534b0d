"""Later versions of a report are told anew, second reads have a clock, messages wait for an answer"""

import sqlalchemy as sa
from alembic import op

from clinic.records.db import UtcDateTime


revision = '0015'
down_revision = '0014'
branch_labels = None
depends_on = None

PROMISES = "promise IN ('read', 'told', 'cancer')"
NEW_PROMISES = "promise IN ('read', 'told', 'cancer', 'second')"
STEP = ['submission_id', 'promise', 'level']
SIGNED = sa.text("case_state = 'signed'")
UNANSWERED = sa.text('from_patient AND answered_at IS NULL')


def upgrade() -> None:
    op.add_column(
        'submission', sa.Column('first_told_at', UtcDateTime(timezone=True), nullable=True)
    )
    _change_steps(NEW_PROMISES, [*STEP, 'at'])
    op.add_column(
        'case_message', sa.Column('answered_at', UtcDateTime(timezone=True), nullable=True)
    )
    op.create_index(
        'case_message_unanswered', 'case_message', ['clinic_id', 'sent_at'],
        postgresql_where=UNANSWERED, sqlite_where=UNANSWERED,
    )
    op.drop_index('case_message_unread', 'case_message')
    op.create_index(
        'submission_kept_by', 'submission', ['claimed_by', 'received_at', 'id'],
        postgresql_where=SIGNED, sqlite_where=SIGNED,
    )


def downgrade() -> None:
    op.drop_index('submission_kept_by', 'submission')
    unread = sa.text('read_at IS NULL')
    op.create_index(
        'case_message_unread', 'case_message', ['clinic_id', 'sent_at'],
        postgresql_where=unread, sqlite_where=unread,
    )
    op.drop_index('case_message_unanswered', 'case_message')
    op.drop_column('case_message', 'answered_at')
    op.execute("DELETE FROM escalation WHERE promise = 'second'")
    # Of each step the one that was told first is kept, as the version before would have written it.
    op.execute(
        'DELETE FROM escalation WHERE EXISTS (SELECT 1 FROM escalation AS earlier'
        ' WHERE earlier.submission_id = escalation.submission_id'
        ' AND earlier.promise = escalation.promise AND earlier.level = escalation.level'
        ' AND earlier.at < escalation.at)'
    )
    _change_steps(PROMISES, STEP)
    op.drop_column('submission', 'first_told_at')


def _change_steps(promises: str, key: list[str]) -> None:
    """Which promises there are, and what makes a step one of its own."""
    if op.get_bind().dialect.name == 'sqlite':
        _copy_steps(promises, key)
        return
    op.drop_constraint('escalation_promise_is_known', 'escalation', type_='check')
    op.create_check_constraint('escalation_promise_is_known', 'escalation', promises)
    op.drop_constraint('escalation_pkey', 'escalation', type_='primary')
    op.create_primary_key('escalation_pkey', 'escalation', key)


def _copy_steps(promises: str, key: list[str]) -> None:
    """SQLite changes neither a primary key nor a CHECK in place."""
    op.create_table('new_escalation',
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('promise', sa.String(length=10), nullable=False),
    sa.Column('level', sa.String(length=10), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('due_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('told', sa.JSON(), nullable=False),
    sa.CheckConstraint(promises, name='escalation_promise_is_known'),
    sa.CheckConstraint("level IN ('warning', 'breach')", name='escalation_level_is_known'),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.PrimaryKeyConstraint(*key)
    )
    columns = 'submission_id, promise, level, clinic_id, due_at, at, told'
    op.execute(f'INSERT INTO new_escalation ({columns}) SELECT {columns} FROM escalation')
    op.drop_table('escalation')
    op.rename_table('new_escalation', 'escalation')
    op.create_index('escalation_of_clinic', 'escalation', ['clinic_id', 'at'], unique=False)
