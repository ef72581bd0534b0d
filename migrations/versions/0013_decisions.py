"""Decisions: versions of a signed report, drafts, attachments, pathology; and a signed record that
the database itself lets nobody change"""

import sqlalchemy as sa
from alembic import op

from clinic.records.db import UtcDateTime


revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None

NOTICE_KINDS = (
    'new device', 'password changed', 'factor added', 'factor removed', 'recovery code used',
    'email changed', 'password reset', 'email change', 'registration', 'address taken',
    'cases nearly due', 'cases overdue', 'case handed over',
)

# What is signed stays: it goes with its patient alone, once the keys that open it are destroyed.
KEY_LIVES = """
    EXISTS (
      SELECT 1 FROM patient_key JOIN submission ON submission.patient_id = patient_key.patient_id
      WHERE submission.id = OLD.submission_id AND patient_key.destroyed_at IS NULL
    )
"""
TABLES = ('signed_report', 'pathology_result')
POSTGRESQL = (
    f"""
    CREATE FUNCTION signed_record_stays() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' AND NOT ({KEY_LIVES}) THEN RETURN OLD; END IF;
      RAISE EXCEPTION 'a signed record is never changed';
    END $$
    """,
    """
    CREATE FUNCTION signed_records_stay() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'a signed record is never changed'; END $$
    """,
    *(
        f"""
        CREATE TRIGGER {table}_stays BEFORE UPDATE OR DELETE ON {table}
        FOR EACH ROW EXECUTE FUNCTION signed_record_stays()
        """
        for table in TABLES
    ),
    *(
        f"""
        CREATE TRIGGER {table}_is_not_emptied BEFORE TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION signed_records_stay()
        """
        for table in TABLES
    ),
)
SQLITE = (
    *(
        f"""
        CREATE TRIGGER {table}_stays BEFORE UPDATE ON {table}
        BEGIN SELECT RAISE(ABORT, 'a signed record is never changed'); END
        """
        for table in TABLES
    ),
    *(
        f"""
        CREATE TRIGGER {table}_is_kept BEFORE DELETE ON {table} WHEN {KEY_LIVES}
        BEGIN SELECT RAISE(ABORT, 'a signed record is never changed'); END
        """
        for table in TABLES
    ),
)


def upgrade() -> None:
    _let_notices_be((*NOTICE_KINDS, 'news'))
    with op.batch_alter_table('patient', schema=None) as batch_op:
        batch_op.add_column(
            sa.Column('language', sa.String(length=10), server_default='en', nullable=False)
        )
    with op.batch_alter_table('signed_report', schema=None) as batch_op:
        batch_op.add_column(sa.Column('gp_letter_object_id', sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column('letter_template', sa.String(length=60), nullable=True))
        batch_op.add_column(sa.Column('follow_up_on', sa.Date(), nullable=True))
        batch_op.add_column(
            sa.Column('status', sa.String(length=10), server_default='final', nullable=False)
        )
        batch_op.add_column(sa.Column('change_reason', sa.String(length=30), nullable=True))
        batch_op.create_foreign_key(
            'signed_report_gp_letter_object_id_fkey', 'sealed_object',
            ['gp_letter_object_id'], ['id'],
        )
        batch_op.create_check_constraint(
            'signed_report_status_is_known',
            "status IN ('final', 'amended', 'corrected', 'appended')",
        )
        batch_op.create_check_constraint(
            'signed_report_first_version_is_final', "(version = 1) = (status = 'final')"
        )
        batch_op.create_check_constraint(
            'signed_report_change_has_reason', '(version = 1) = (change_reason IS NULL)'
        )
    op.create_table('case_draft',
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('reader_id', sa.String(length=32), nullable=False),
    sa.Column('object_id', sa.String(length=32), nullable=False),
    sa.Column('revision', sa.Integer(), nullable=False),
    sa.Column('saved_at', UtcDateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['object_id'], ['sealed_object.id'], ),
    sa.ForeignKeyConstraint(['reader_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.PrimaryKeyConstraint('submission_id')
    )
    op.create_table('attachment',
    sa.Column('object_id', sa.String(length=32), nullable=False),
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('kind', sa.String(length=20), nullable=False),
    sa.Column('media_type', sa.String(length=30), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('for_patient', sa.Boolean(), nullable=False),
    sa.Column('added_by', sa.String(length=32), nullable=False),
    sa.Column('added_at', UtcDateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['added_by'], ['account.id'], ),
    sa.ForeignKeyConstraint(['object_id'], ['sealed_object.id'], ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.PrimaryKeyConstraint('object_id')
    )
    op.create_index('ix_attachment_submission_id', 'attachment', ['submission_id'])
    op.create_table('pathology_result',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('diagnosis', sa.String(length=20), nullable=False),
    sa.Column('icd10cm', sa.String(length=10), nullable=False),
    sa.Column('morphology', sa.String(length=10), nullable=True),
    sa.Column('specimen', sa.String(length=20), nullable=False),
    sa.Column('source', sa.String(length=20), nullable=False),
    sa.Column('reported_on', sa.Date(), nullable=False),
    sa.Column('note_object_id', sa.String(length=32), nullable=True),
    sa.Column('added_by', sa.String(length=32), nullable=False),
    sa.Column('added_at', UtcDateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['added_by'], ['account.id'], ),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.ForeignKeyConstraint(['note_object_id'], ['sealed_object.id'], ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    for name in ('submission_id', 'clinic_id'):
        op.create_index(f'ix_pathology_result_{name}', 'pathology_result', [name])
    for statement in SQLITE if _is_sqlite() else POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    if _is_sqlite():
        for statement in SQLITE:
            op.execute(f'DROP TRIGGER IF EXISTS {statement.split()[2]}')
    else:
        for function in ('signed_record_stays', 'signed_records_stay'):
            op.execute(f'DROP FUNCTION IF EXISTS {function}() CASCADE')
    for table in ('pathology_result', 'attachment', 'case_draft'):
        op.drop_table(table)
    # An earlier version knows one version of a report: the newest one goes on as the first.
    op.execute(
        'DELETE FROM signed_report WHERE EXISTS (SELECT 1 FROM signed_report AS newer'
        ' WHERE newer.submission_id = signed_report.submission_id'
        ' AND newer.version > signed_report.version)'
    )
    with op.batch_alter_table('signed_report', schema=None) as batch_op:
        for name in ('status_is_known', 'first_version_is_final', 'change_has_reason'):
            batch_op.drop_constraint(f'signed_report_{name}', type_='check')
        batch_op.drop_constraint('signed_report_gp_letter_object_id_fkey', type_='foreignkey')
        for name in (
            'change_reason', 'status', 'follow_up_on', 'letter_template', 'gp_letter_object_id',
        ):
            batch_op.drop_column(name)
    with op.batch_alter_table('patient', schema=None) as batch_op:
        batch_op.drop_column('language')
    op.execute("DELETE FROM notice WHERE kind = 'news'")
    _let_notices_be(NOTICE_KINDS)


def _let_notices_be(kinds: tuple[str, ...]) -> None:
    with op.batch_alter_table('notice', schema=None) as batch_op:
        batch_op.drop_constraint('notice_kind_is_known', type_='check')
        batch_op.create_check_constraint(
            'notice_kind_is_known', sa.text('kind IN (' + ', '.join(f"'{one}'" for one in kinds) + ')')
        )


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == 'sqlite'
