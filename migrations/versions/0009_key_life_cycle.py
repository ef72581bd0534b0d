"""Wrapped keys name their master key, carry a copy for emergencies; emergencies are found at once"""

import sqlalchemy as sa
from alembic import op


revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

EMERGENCY = sa.text("action = 'keys:opened in an emergency'")
# The format's byte and an id of zeros: wrapped before master keys had ids.
UNNAMED = b'\x01' + bytes(8)
WRAPPED = {'epoch_key': 'private_wrapped', 'patient_key': 'wrapped'}


def upgrade() -> None:
    op.create_table('master_key_head',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('key_id', sa.String(length=16), nullable=False),
    sa.Column('since', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('id = 1', name='master_key_head_is_one_row'),
    sa.PrimaryKeyConstraint('id')
    )
    for name, column in WRAPPED.items():
        with op.batch_alter_table(name, schema=None) as batch_op:
            batch_op.add_column(sa.Column('emergency_copy', sa.LargeBinary(), nullable=True))
            batch_op.create_check_constraint(
                f'{name}_destroyed_has_no_copy', 'destroyed_at IS NULL OR emergency_copy IS NULL'
            )
        change(name, column, lambda wrapped: UNNAMED + wrapped)
    with op.batch_alter_table('audit_entry', schema=None) as batch_op:
        batch_op.create_index(
            'audit_entry_emergencies', ['sequence'], unique=False,
            postgresql_where=EMERGENCY, sqlite_where=EMERGENCY,
        )


def downgrade() -> None:
    with op.batch_alter_table('audit_entry', schema=None) as batch_op:
        batch_op.drop_index('audit_entry_emergencies')
    for name, column in WRAPPED.items():
        change(name, column, lambda wrapped: wrapped[len(UNNAMED):])
        with op.batch_alter_table(name, schema=None) as batch_op:
            batch_op.drop_constraint(f'{name}_destroyed_has_no_copy', type_='check')
            batch_op.drop_column('emergency_copy')
    op.drop_table('master_key_head')


def change(name: str, column: str, new) -> None:
    connection = op.get_bind()
    table = sa.table(name, sa.column('kid'), sa.column(column, sa.LargeBinary()))
    living = sa.select(table).where(table.c[column].is_not(None))
    for kid, wrapped in connection.execute(living).all():
        changed = sa.update(table).where(table.c.kid == kid)
        connection.execute(changed.values({column: new(wrapped)}))
