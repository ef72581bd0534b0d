"""A first read with alternatives and an urgency, the times of a reading, and a second heat-map"""

import sqlalchemy as sa
from alembic import op

from clinic.records.db import UtcDateTime


revision = '0012'
down_revision = '0011'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('reading',
    sa.Column('submission_id', sa.String(length=32), nullable=False),
    sa.Column('reader_id', sa.String(length=32), nullable=False),
    sa.Column('started_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('revealed_at', UtcDateTime(timezone=True), nullable=True),
    sa.Column('decided_at', UtcDateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['reader_id'], ['account.id'], ),
    sa.ForeignKeyConstraint(['submission_id'], ['submission.id'], ),
    sa.PrimaryKeyConstraint('submission_id', 'reader_id')
    )
    # Without batches: those would make SQLite's tables anew, and lose the trigger of 0008.
    op.add_column(
        'first_read',
        sa.Column('alternatives', sa.JSON(), server_default=sa.text("'[]'"), nullable=False),
    )
    op.add_column('first_read', sa.Column('urgency', sa.Integer(), nullable=True))
    op.add_column('screening_result', sa.Column('maps', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column('screening_result', 'maps')
    op.drop_column('first_read', 'urgency')
    op.drop_column('first_read', 'alternatives')
    op.drop_table('reading')
