"""A destroyed patient key stays when the patient's row is erased"""

from alembic import op


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

# The constraint was made without a name: PostgreSQL gave it this one, SQLite gets it here.
NAMES = {'fk': '%(table_name)s_%(column_0_name)s_fkey'}
NAME = 'patient_key_patient_id_fkey'


def upgrade() -> None:
    with op.batch_alter_table('patient_key', schema=None, naming_convention=NAMES) as batch_op:
        batch_op.drop_constraint(NAME, type_='foreignkey')


def downgrade() -> None:
    op.execute('DELETE FROM patient_key WHERE patient_id NOT IN (SELECT id FROM patient)')
    with op.batch_alter_table('patient_key', schema=None) as batch_op:
        batch_op.create_foreign_key(NAME, 'patient', ['patient_id'], ['id'])
