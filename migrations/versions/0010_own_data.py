"""What is a patient's own: consents with a period, requests of erasure, withdrawn reports; and an
audit chain that the database itself lets nobody change"""

import sqlalchemy as sa
from alembic import op

from clinic.records.db import UtcDateTime


revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None

UNDECIDED = sa.text("state IN ('open', 'granted')")

# Rows of the chain are only ever added; its head only moves on.
POSTGRESQL = (
    """
    CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'the audit chain is append-only'; END $$
    """,
    """
    CREATE TRIGGER audit_entry_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
    """,
    """
    CREATE TRIGGER audit_head_stays BEFORE DELETE OR TRUNCATE ON audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
    """,
    """
    CREATE TRIGGER audit_head_moves_on BEFORE UPDATE ON audit_head
    FOR EACH ROW WHEN (NEW.sequence <= OLD.sequence) EXECUTE FUNCTION audit_is_append_only()
    """,
)
SQLITE = (
    """
    CREATE TRIGGER audit_entry_is_append_only_update BEFORE UPDATE ON audit_entry
    BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END
    """,
    """
    CREATE TRIGGER audit_entry_is_append_only_delete BEFORE DELETE ON audit_entry
    BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END
    """,
    """
    CREATE TRIGGER audit_head_stays BEFORE DELETE ON audit_head
    BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END
    """,
    """
    CREATE TRIGGER audit_head_moves_on BEFORE UPDATE ON audit_head
    WHEN NEW.sequence <= OLD.sequence
    BEGIN SELECT RAISE(ABORT, 'the audit chain is append-only'); END
    """,
)


def upgrade() -> None:
    with op.batch_alter_table('consent', schema=None) as batch_op:
        batch_op.add_column(sa.Column('valid_until', UtcDateTime(timezone=True), nullable=True))
        batch_op.create_check_constraint(
            'consent_period_has_a_length', 'valid_until IS NULL OR valid_until > recorded_at'
        )
        batch_op.create_index('consent_by_purpose', ['purpose', 'permitted'], unique=False)
    op.create_table('erasure_request',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('state', sa.String(length=10), nullable=False),
    sa.Column('requested_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('due_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=True),
    sa.Column('decided_at', UtcDateTime(timezone=True), nullable=True),
    sa.Column('decided_by', sa.String(length=80), nullable=True),
    sa.Column('refusal', sa.String(length=40), nullable=True),
    sa.Column('certificate', sa.Text(), nullable=True),
    sa.Column('fetched_at', UtcDateTime(timezone=True), nullable=True),
    sa.CheckConstraint(
        "state IN ('open', 'withdrawn', 'refused', 'granted', 'done')",
        name='erasure_request_state_is_known',
    ),
    sa.CheckConstraint(
        "(state = 'refused') = (refusal IS NOT NULL)", name='erasure_request_refusal_has_reason'
    ),
    sa.CheckConstraint(
        "(state = 'done') = (certificate IS NOT NULL)", name='erasure_request_done_has_certificate'
    ),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('token_hash')
    )
    with op.batch_alter_table('erasure_request', schema=None) as batch_op:
        batch_op.create_index('erasure_request_by_state', ['state', 'due_at'], unique=False)
        batch_op.create_index(
            'erasure_request_one_at_a_time', ['patient_id'], unique=True,
            postgresql_where=UNDECIDED, sqlite_where=UNDECIDED,
        )
        batch_op.create_index(
            batch_op.f('ix_erasure_request_clinic_id'), ['clinic_id'], unique=False
        )
    op.create_table('report_withdrawal',
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('patient_id', sa.String(length=32), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('withdrawn_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('delivered_at', UtcDateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.PrimaryKeyConstraint('submission_id')
    )
    with op.batch_alter_table('report_withdrawal', schema=None) as batch_op:
        for name in ('clinic_id', 'patient_id'):
            batch_op.create_index(batch_op.f(f'ix_report_withdrawal_{name}'), [name], unique=False)
    op.create_index('audit_entry_at', 'audit_entry', ['at'], unique=False)
    for statement in _triggers():
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        for statement in SQLITE:
            op.execute(f'DROP TRIGGER IF EXISTS {statement.split()[2]}')
    else:
        op.execute('DROP FUNCTION IF EXISTS audit_is_append_only() CASCADE')
    op.drop_index('audit_entry_at', 'audit_entry')
    op.drop_table('report_withdrawal')
    op.drop_table('erasure_request')
    with op.batch_alter_table('consent', schema=None) as batch_op:
        batch_op.drop_index('consent_by_purpose')
        batch_op.drop_constraint('consent_period_has_a_length', type_='check')
        batch_op.drop_column('valid_until')


def _triggers() -> tuple[str, ...]:
    return SQLITE if op.get_bind().dialect.name == 'sqlite' else POSTGRESQL
