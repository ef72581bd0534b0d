"""What computed a result, and indexes in the order of the queue"""

import sqlalchemy as sa
from alembic import op


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

WAITING = sa.text("screening_state = 'queued'")
HELD = sa.text("screening_state = 'running'")


def upgrade() -> None:
    with op.batch_alter_table('screening_result', schema=None) as batch_op:
        batch_op.add_column(sa.Column('engine', sa.String(length=40), nullable=True))
        batch_op.add_column(sa.Column('device', sa.String(length=80), nullable=True))

    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.drop_index('submission_to_screen')
        batch_op.create_index('submission_to_claim', ['attempt', 'received_at'], unique=False, postgresql_where=WAITING, sqlite_where=WAITING)
        batch_op.create_index('submission_to_hint', ['received_at'], unique=False, postgresql_where=WAITING, sqlite_where=WAITING)
        batch_op.create_index('submission_held', ['lease_until'], unique=False, postgresql_where=HELD, sqlite_where=HELD)


def downgrade() -> None:
    with op.batch_alter_table('submission', schema=None) as batch_op:
        batch_op.drop_index('submission_held', postgresql_where=HELD, sqlite_where=HELD)
        batch_op.drop_index('submission_to_hint', postgresql_where=WAITING, sqlite_where=WAITING)
        batch_op.drop_index('submission_to_claim', postgresql_where=WAITING, sqlite_where=WAITING)
        batch_op.create_index('submission_to_screen', ['screening_state', 'not_before'], unique=False)

    with op.batch_alter_table('screening_result', schema=None) as batch_op:
        batch_op.drop_column('device')
        batch_op.drop_column('engine')
