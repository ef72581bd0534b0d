"""Second reads with their consensus and rule, messages with patients, notes among readers"""

import re

import sqlalchemy as sa
from alembic import op

from clinic.records.db import UtcDateTime


revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None

KINDS = 'notice_kind_is_known'
NEW_KIND = 'case message'
OPEN = sa.text("state = 'open'")
UNREAD = sa.text('read_at IS NULL')


def _moment(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, UtcDateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    op.create_table('second_read',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('reason', sa.String(length=20), nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('blind', sa.Boolean(), nullable=False),
    sa.Column('holds', sa.Boolean(), nullable=False),
    sa.Column('first_diagnosis', sa.String(length=20), nullable=True),
    sa.Column('first_plan', sa.String(length=30), nullable=True),
    sa.Column('asked_by', sa.String(length=32), nullable=True),
    sa.Column('asked_of', sa.String(length=32), nullable=True),
    sa.Column('question_object_id', sa.String(length=32), nullable=True),
    _moment('asked_at'),
    _moment('due_at'),
    sa.Column('withdrawn_reason', sa.String(length=30), nullable=True),
    sa.Column('reader_id', sa.String(length=32), nullable=True),
    _moment('reader_until', nullable=True),
    _moment('started_at', nullable=True),
    _moment('read_at', nullable=True),
    sa.Column('differential', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('confidence', sa.String(length=20), nullable=True),
    sa.Column('plan', sa.String(length=30), nullable=True),
    sa.Column('note_object_id', sa.String(length=32), nullable=True),
    sa.CheckConstraint(
        "state IN ('open', 'read', 'withdrawn')", name='second_read_state_is_known'
    ),
    sa.CheckConstraint(
        "reason IN ('asked', 'disagreement', 'skin tone', 'sample', 'adjudication')",
        name='second_read_reason_is_known',
    ),
    sa.CheckConstraint(
        "state <> 'read' OR read_at IS NOT NULL", name='second_read_read_has_a_time'
    ),
    sa.CheckConstraint(
        "state <> 'read' OR (reader_id IS NOT NULL AND differential IS NOT NULL"
        " AND confidence IS NOT NULL AND plan IS NOT NULL)",
        name='second_read_read_is_complete',
    ),
    sa.CheckConstraint(
        "(state = 'withdrawn') = (withdrawn_reason IS NOT NULL)",
        name='second_read_withdrawn_has_reason',
    ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.ForeignKeyConstraint(['asked_by'], ['account.id'], ),
    sa.ForeignKeyConstraint(['asked_of'], ['account.id'], ),
    sa.ForeignKeyConstraint(['reader_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['question_object_id'], ['sealed_object.id'], ),
    sa.ForeignKeyConstraint(['note_object_id'], ['sealed_object.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_second_read_submission_id', 'second_read', ['submission_id'])
    op.create_index(
        'second_read_to_do', 'second_read', ['clinic_id', 'due_at'],
        postgresql_where=OPEN, sqlite_where=OPEN,
    )
    op.create_index(
        'second_read_one_at_a_time', 'second_read', ['submission_id'], unique=True,
        postgresql_where=OPEN, sqlite_where=OPEN,
    )
    op.create_table('consensus',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('path', sa.String(length=20), nullable=False),
    sa.Column('diagnosis', sa.String(length=20), nullable=False),
    sa.Column('plan', sa.String(length=30), nullable=False),
    _moment('recorded_at'),
    sa.CheckConstraint(
        "path IN ('agreed', 'same risk', 'adjudicated')", name='consensus_path_is_known'
    ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_consensus_submission_id', 'consensus', ['submission_id'])
    op.create_table('double_read_rule',
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('benign_share', sa.Float(), nullable=False),
    sa.Column('skin_tone', sa.Boolean(), nullable=False),
    sa.Column('disagreement', sa.Boolean(), nullable=False),
    _moment('changed_at'),
    sa.CheckConstraint(
        'benign_share >= 0 AND benign_share <= 1', name='double_read_rule_share_is_a_share'
    ),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.PrimaryKeyConstraint('clinic_id')
    )
    op.create_table('case_message',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('author_id', sa.String(length=32), nullable=False),
    sa.Column('from_patient', sa.Boolean(), nullable=False),
    sa.Column('object_id', sa.String(length=32), nullable=False),
    _moment('sent_at'),
    _moment('answer_by', nullable=True),
    _moment('read_at', nullable=True),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.ForeignKeyConstraint(['author_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['object_id'], ['sealed_object.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_case_message_submission_id', 'case_message', ['submission_id'])
    op.create_index(
        'case_message_unread', 'case_message', ['clinic_id', 'sent_at'],
        postgresql_where=UNREAD, sqlite_where=UNREAD,
    )
    op.create_table('case_note',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('author_id', sa.String(length=32), nullable=False),
    sa.Column('object_id', sa.String(length=32), nullable=False),
    _moment('written_at'),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.ForeignKeyConstraint(['author_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['object_id'], ['sealed_object.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_case_note_submission_id', 'case_note', ['submission_id'])
    _change_kinds([*_kinds(), NEW_KIND])


def downgrade() -> None:
    for table in ('case_note', 'case_message', 'double_read_rule', 'consensus', 'second_read'):
        op.drop_table(table)
    op.execute(f"DELETE FROM notice WHERE kind = '{NEW_KIND}'")
    _change_kinds([one for one in _kinds() if one != NEW_KIND])


def _kinds() -> list[str]:
    """The kinds of notices that the CHECK allows now: other migrations add theirs too."""
    found = sa.inspect(op.get_bind()).get_check_constraints('notice')
    rule = next(one['sqltext'] for one in found if one['name'] == KINDS)
    return re.findall("'([^']+)'", rule)


def _change_kinds(kinds: list[str]) -> None:
    named = ', '.join(f"'{one}'" for one in kinds)
    with op.batch_alter_table('notice', schema=None) as batch_op:
        batch_op.drop_constraint(KINDS, type_='check')
        batch_op.create_check_constraint(KINDS, f'kind IN ({named})')
