"""Keep exposures and outcomes of experiments

Revision: 0005, after 0004, 2026-11-22 03:36:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('experiment_exposures',
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('experiment_id', sa.String(length=64), nullable=False),
    sa.Column('unit_id', sa.String(length=255), nullable=False),
    sa.Column('variant', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('attributes', sa.JSON(none_as_null=True), nullable=False),
    sa.ForeignKeyConstraint(['experiment_id'], ['experiments.experiment_id'], name=op.f('fk_experiment_exposures_experiment_id_experiments')),
    sa.PrimaryKeyConstraint('number', name=op.f('pk_experiment_exposures')),
    sa.UniqueConstraint('experiment_id', 'unit_id', 'variant', 'at', name=op.f('uq_experiment_exposures_experiment_id_unit_id_variant_at'))
    )
    op.create_table('experiment_outcomes',
    sa.Column('experiment_id', sa.String(length=64), nullable=False),
    sa.Column('outcome_id', sa.String(length=255), nullable=False),
    sa.Column('unit_id', sa.String(length=255), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('measured', sa.JSON(none_as_null=True), nullable=False),
    sa.ForeignKeyConstraint(['experiment_id'], ['experiments.experiment_id'], name=op.f('fk_experiment_outcomes_experiment_id_experiments')),
    sa.PrimaryKeyConstraint('experiment_id', 'outcome_id', name=op.f('pk_experiment_outcomes'))
    )


def downgrade() -> None:
    op.drop_table('experiment_outcomes')
    op.drop_table('experiment_exposures')
