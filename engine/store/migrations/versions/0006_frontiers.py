"""Keep the frontier of a proposal, each point with its prices

Revision: 0006, after 0005, 2026-11-22 07:30:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('frontier_points',
    sa.Column('proposal_number', sa.Integer(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('measure', sa.String(length=32), nullable=False),
    sa.Column('level', sa.Float(precision=53), nullable=True),
    sa.Column('reached', sa.Float(precision=53), nullable=False),
    sa.Column('gain', sa.Float(precision=53), nullable=False),
    sa.Column('gain_low', sa.Float(precision=53), nullable=False),
    sa.Column('gain_high', sa.Float(precision=53), nullable=False),
    sa.Column('bound', sa.Float(precision=53), nullable=False),
    sa.Column('gap', sa.Float(precision=53), nullable=False),
    sa.Column('lines', sa.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['proposal_number'], ['proposals.number'], name=op.f('fk_frontier_points_proposal_number_proposals')),
    sa.PrimaryKeyConstraint('proposal_number', 'position', name=op.f('pk_frontier_points'))
    )


def downgrade() -> None:
    op.drop_table('frontier_points')
