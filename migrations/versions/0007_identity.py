"""Identity: passkeys, recovery codes, known devices, mailed links, invitations, notices"""

import sqlalchemy as sa
from alembic import op

from clinic.records.db import UtcDateTime


revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

WAITING = sa.text('sent_at IS NULL')


def upgrade() -> None:
    with op.batch_alter_table('login_session', schema=None) as batch_op:
        # Sessions of before are of browsers that nobody described; staff prove a second factor anyway.
        batch_op.add_column(sa.Column('device', sa.String(length=60), nullable=False, server_default='a browser'))
        batch_op.add_column(sa.Column('second_factor_due', sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table('passkey',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('account_id', sa.String(length=32), nullable=False),
    sa.Column('credential_id', sa.LargeBinary(), nullable=False),
    sa.Column('public_key', sa.LargeBinary(), nullable=False),
    sa.Column('sign_count', sa.BigInteger(), nullable=False),
    sa.Column('name_sealed', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('last_used_at', UtcDateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('credential_id')
    )
    op.create_index('ix_passkey_account_id', 'passkey', ['account_id'], unique=False)
    op.create_table('passkey_challenge',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('account_id', sa.String(length=32), nullable=True),
    sa.Column('challenge', sa.LargeBinary(), nullable=False),
    sa.Column('expires_at', UtcDateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_passkey_challenge_account_id', 'passkey_challenge', ['account_id'], unique=False)
    op.create_table('recovery_code',
    sa.Column('code_hash', sa.String(length=64), nullable=False),
    sa.Column('account_id', sa.String(length=32), nullable=False),
    sa.Column('used_at', UtcDateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('code_hash')
    )
    op.create_index('ix_recovery_code_account_id', 'recovery_code', ['account_id'], unique=False)
    op.create_table('known_device',
    sa.Column('account_id', sa.String(length=32), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('last_seen_at', UtcDateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('account_id', 'token_hash')
    )
    op.create_table('one_time_link',
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('purpose', sa.String(length=20), nullable=False),
    sa.Column('account_id', sa.String(length=32), nullable=True),
    sa.Column('email_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('expires_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('used_at', UtcDateTime(timezone=True), nullable=True),
    sa.CheckConstraint("purpose IN ('password reset', 'email change', 'registration')", name='one_time_link_purpose_is_known'),
    sa.CheckConstraint("(purpose = 'registration') = (account_id IS NULL)", name='one_time_link_names_account'),
    sa.CheckConstraint("(purpose = 'password reset') = (email_sealed IS NULL)", name='one_time_link_names_address'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('token_hash')
    )
    op.create_index('ix_one_time_link_account_id', 'one_time_link', ['account_id'], unique=False)
    op.create_table('invitation',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('clinic_id', sa.String(length=32), nullable=False),
    sa.Column('role', sa.String(length=20), nullable=False),
    sa.Column('created_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('expires_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('used_at', UtcDateTime(timezone=True), nullable=True),
    sa.CheckConstraint("role <> 'patient'", name='invitation_is_for_staff'),
    sa.ForeignKeyConstraint(['clinic_id'], ['clinic.id'], ),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('token_hash')
    )
    op.create_index('ix_invitation_clinic_id', 'invitation', ['clinic_id'], unique=False)
    op.create_table('notice',
    sa.Column('id', sa.String(length=32), nullable=False),
    sa.Column('kind', sa.String(length=30), nullable=False),
    sa.Column('account_id', sa.String(length=32), nullable=True),
    sa.Column('address_sealed', sa.LargeBinary(), nullable=True),
    sa.Column('created_at', UtcDateTime(timezone=True), nullable=False),
    sa.Column('not_before', UtcDateTime(timezone=True), nullable=False),
    sa.Column('sent_at', UtcDateTime(timezone=True), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('last_error', sa.String(length=200), nullable=True),
    sa.CheckConstraint("kind IN ('new device', 'password changed', 'factor added', 'factor removed', 'recovery code used', 'email changed', 'password reset', 'email change', 'registration', 'address taken')", name='notice_kind_is_known'),
    sa.CheckConstraint('account_id IS NOT NULL OR address_sealed IS NOT NULL', name='notice_has_a_receiver'),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('ix_notice_account_id', 'notice', ['account_id'], unique=False)
    op.create_index('notice_to_send', 'notice', ['not_before'], unique=False, postgresql_where=WAITING, sqlite_where=WAITING)


def downgrade() -> None:
    for table in ('notice', 'invitation', 'one_time_link', 'known_device', 'recovery_code', 'passkey_challenge', 'passkey'):
        op.drop_table(table)
    with op.batch_alter_table('login_session', schema=None) as batch_op:
        batch_op.drop_column('second_factor_due')
        batch_op.drop_column('device')
