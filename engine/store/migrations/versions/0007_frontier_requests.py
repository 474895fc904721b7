"""Keep the frontiers that people ask for after a proposal was stored

Revision: 0007, after 0006, 2026-11-22 10:00:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('frontier_requests',
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('request_id', sa.String(length=64), nullable=False),
    sa.Column('proposal_number', sa.Integer(), nullable=False),
    sa.Column('measure', sa.String(length=32), nullable=False),
    sa.Column('levels', sa.JSON(), nullable=False),
    sa.Column('asked_by', sa.Text(), nullable=False),
    sa.Column('asked_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('stage', sa.Text(), nullable=False),
    sa.Column('share', sa.Float(precision=53), nullable=False),
    sa.Column('error', sa.JSON(), nullable=True),
    sa.Column('place', sa.Integer(), nullable=True),
    sa.Column('unreachable', sa.JSON(), nullable=False),
    sa.Column('points', sa.JSON(), nullable=False),
    sa.Column('content_sha256', sa.String(length=64), nullable=True),
    sa.ForeignKeyConstraint(['proposal_number'], ['proposals.number'], name=op.f('fk_frontier_requests_proposal_number_proposals')),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_frontier_requests')),
    sa.UniqueConstraint('proposal_number', 'place', name=op.f('uq_frontier_requests_proposal_number_place')),
    sa.UniqueConstraint('request_id', name=op.f('uq_frontier_requests_request_id'))
    )


def downgrade() -> None:
    op.drop_table('frontier_requests')
