"""What operations look at: indexes for windows, measures of photos, the last walk of the audit chain"""

import sqlalchemy as sa
from alembic import op

from clinic.records.db import UtcDateTime


revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

DEAD_IN_REVIEW = sa.text("screening_state = 'dead' AND case_state = 'awaiting_review'")


def upgrade() -> None:
    op.create_table('audit_check',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('entries', sa.BigInteger(), nullable=False),
    sa.Column('checked_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('problem', sa.Text(), nullable=True),
    sa.CheckConstraint('id = 1', name='audit_check_is_one_row'),
    sa.PrimaryKeyConstraint('id')
    )
    with op.batch_alter_table('screening_result', schema=None) as batch_op:
        batch_op.add_column(sa.Column('quality_measures', sa.JSON(none_as_null=True), nullable=True))
        batch_op.create_index('screening_result_finished', ['finished_at'], unique=False)
        batch_op.create_index('screening_result_of_model', ['model_version', 'finished_at'], unique=False)
    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.create_index(
            'submission_dead_in_review', ['received_at'], unique=False,
            postgresql_where=DEAD_IN_REVIEW, sqlite_where=DEAD_IN_REVIEW,
        )


def downgrade() -> None:
    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.drop_index('submission_dead_in_review')
    with op.batch_alter_table('screening_result', schema=None) as batch_op:
        batch_op.drop_index('screening_result_of_model')
        batch_op.drop_index('screening_result_finished')
        batch_op.drop_column('quality_measures')
    op.drop_table('audit_check')
