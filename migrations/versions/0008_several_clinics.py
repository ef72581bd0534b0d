"""Several clinics: their addresses, auditors, and each result's clinic"""

import re
import unicodedata

import sqlalchemy as sa
from alembic import op


revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

ROLES = "role IN ('patient', 'dermatologist', 'administrator')"
ROLES_NOW = "role IN ('patient', 'dermatologist', 'administrator', 'auditor')"
RULE = 'account_role_is_known'


# While versions work side by side, an earlier worker writes results without a clinic.
POSTGRESQL = (
    """
    CREATE FUNCTION screening_result_gets_its_clinic() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      SELECT clinic_id INTO NEW.clinic_id FROM submission WHERE id = NEW.submission_id;
      RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER screening_result_gets_its_clinic BEFORE INSERT ON screening_result
    FOR EACH ROW WHEN (NEW.clinic_id IS NULL) EXECUTE FUNCTION screening_result_gets_its_clinic()
    """,
)
SQLITE = (
    """
    CREATE TRIGGER screening_result_gets_its_clinic AFTER INSERT ON screening_result
    WHEN NEW.clinic_id IS NULL
    BEGIN
      UPDATE screening_result
      SET clinic_id = (SELECT clinic_id FROM submission WHERE id = NEW.submission_id)
      WHERE submission_id = NEW.submission_id;
    END
    """,
)


def upgrade() -> None:
    op.add_column('clinic', sa.Column('slug', sa.String(length=40), nullable=False, server_default=''))
    op.add_column('clinic', sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True))
    _name_addresses()
    op.create_index('clinic_slug', 'clinic', ['slug'], unique=True)

    _change_rule(ROLES, ROLES_NOW)

    op.add_column('screening_result', sa.Column('clinic_id', sa.String(length=32), nullable=True))
    op.execute(
        'UPDATE screening_result SET clinic_id = (SELECT submission.clinic_id FROM submission'
        ' WHERE submission.id = screening_result.submission_id)'
    )
    with op.batch_alter_table('screening_result', schema=None) as batch_op:
        batch_op.create_foreign_key(
            'screening_result_clinic_id_fkey', 'clinic', ['clinic_id'], ['id']
        )
        batch_op.create_index('screening_result_of_clinic', ['clinic_id', 'finished_at'])
        batch_op.create_index(
            'screening_result_of_clinic_and_model', ['clinic_id', 'model_version', 'finished_at']
        )
    op.create_index('audit_entry_of_clinic', 'audit_entry', ['clinic_id', 'sequence'])
    for statement in _triggers():
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        op.execute('DROP TRIGGER IF EXISTS screening_result_gets_its_clinic')
    else:
        op.execute('DROP FUNCTION IF EXISTS screening_result_gets_its_clinic() CASCADE')
    op.drop_index('audit_entry_of_clinic', 'audit_entry')
    with op.batch_alter_table('screening_result', schema=None) as batch_op:
        batch_op.drop_index('screening_result_of_clinic_and_model')
        batch_op.drop_index('screening_result_of_clinic')
        batch_op.drop_constraint('screening_result_clinic_id_fkey', type_='foreignkey')
        batch_op.drop_column('clinic_id')
    # The older tables know no auditors: theirs become accounts that nobody can use.
    op.execute(
        "UPDATE account SET role = 'administrator',"
        " disabled_at = COALESCE(disabled_at, CURRENT_TIMESTAMP) WHERE role = 'auditor'"
    )
    _change_rule(ROLES_NOW, ROLES)
    op.drop_index('clinic_slug', 'clinic')
    op.drop_column('clinic', 'closed_at')
    op.drop_column('clinic', 'slug')


def _name_addresses() -> None:
    """Each clinic's address, from its name: `clinic.records.clinics.slug_of` as it is today."""
    connection, taken = op.get_bind(), set()
    for clinic_id, name in connection.execute(sa.text('SELECT id, name FROM clinic ORDER BY id')).all():
        plain = unicodedata.normalize('NFKD', name).encode('ascii', 'ignore').decode().lower()
        slug = '-'.join(re.findall('[a-z0-9]+', plain))[:40].strip('-') or 'clinic'
        if slug in taken:
            slug = f'{slug[:31]}-{clinic_id[-8:]}'
        taken.add(slug)
        change = sa.text('UPDATE clinic SET slug = :slug WHERE id = :id')
        connection.execute(change, {'slug': slug, 'id': clinic_id})


def _change_rule(old: str, new: str) -> None:
    """Change the CHECK on roles. SQLite's table is not rebuilt, since others refer to its rows:
    what it wrote down of the table is changed (https://www.sqlite.org/lang_altertable.html, 7).
    """
    if op.get_bind().dialect.name != 'sqlite':
        op.drop_constraint(RULE, 'account', type_='check')
        op.create_check_constraint(RULE, 'account', new)
        return
    connection = op.get_bind()
    version = connection.exec_driver_sql('PRAGMA schema_version').scalar_one()
    connection.exec_driver_sql('PRAGMA writable_schema = ON')
    connection.exec_driver_sql(
        "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE type = 'table' AND name = 'account'",
        (old, new),
    )
    connection.exec_driver_sql(f'PRAGMA schema_version = {version + 1}')
    connection.exec_driver_sql('PRAGMA writable_schema = OFF')


def _triggers() -> tuple[str, ...]:
    return SQLITE if op.get_bind().dialect.name == 'sqlite' else POSTGRESQL
