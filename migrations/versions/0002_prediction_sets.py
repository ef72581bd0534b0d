"""Prediction sets and outlier score of a screening"""

import sqlalchemy as sa
from alembic import op


revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('screening_result', schema=None) as batch_op:
        batch_op.add_column(sa.Column('prediction_sets', sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column('outlier_score', sa.Float(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('screening_result', schema=None) as batch_op:
        batch_op.drop_column('outlier_score')
        batch_op.drop_column('prediction_sets')
