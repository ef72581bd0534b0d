"""Indexes that keep pages as quick with a million cases as with ten thousand"""

import sqlalchemy as sa
from alembic import op


revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

_OPEN = "case_state = 'awaiting_review'"
_SIGNED = "case_state = 'signed'"


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name, table, columns, postgresql_where=condition, sqlite_where=condition
    )


def upgrade() -> None:
    op.drop_index('submission_review_order', 'submission')
    _partial('submission_review_order', 'submission', ['clinic_id', 'urgency', 'due_at', 'id'], _OPEN)
    _partial('submission_claims', 'submission', ['claimed_by'], f'{_OPEN} AND claimed_by IS NOT NULL')
    _partial('submission_signed_by_sending', 'submission', ['clinic_id', 'received_at', 'id'], _SIGNED)
    op.drop_index('signed_report_by_clinic', 'signed_report')
    op.create_index(
        'signed_report_by_clinic', 'signed_report', ['clinic_id', 'signed_at', 'submission_id']
    )
    op.create_index(
        'signed_report_by_signer', 'signed_report', ['signer_id', 'signed_at', 'submission_id']
    )
    op.create_index(
        'ix_screening_result_model_fingerprint', 'screening_result', ['model_fingerprint']
    )
    op.create_index('key_request_by_login', 'key_request', ['login_session_id', 'created_at'])
    op.create_index('key_request_by_client', 'key_request', ['ehr_client_id', 'created_at'])


def downgrade() -> None:
    op.drop_index('key_request_by_client', 'key_request')
    op.drop_index('key_request_by_login', 'key_request')
    op.drop_index('ix_screening_result_model_fingerprint', 'screening_result')
    op.drop_index('signed_report_by_signer', 'signed_report')
    op.drop_index('signed_report_by_clinic', 'signed_report')
    op.create_index('signed_report_by_clinic', 'signed_report', ['clinic_id', 'signed_at', 'id'])
    op.drop_index('submission_signed_by_sending', 'submission')
    op.drop_index('submission_claims', 'submission')
    op.drop_index('submission_review_order', 'submission')
    op.create_index(
        'submission_review_order',
        'submission',
        ['clinic_id', 'case_state', 'urgency', 'due_at', 'id'],
    )
