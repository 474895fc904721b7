"""Log which coupons were drawn at random, and with which chance

Revision: 0004, after 0003, 2026-11-22 03:40:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('coupon_lines', schema=None) as batch_op:
        batch_op.add_column(sa.Column('explored', sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column('propensity', sa.Float(precision=53), server_default='1', nullable=False))


def downgrade() -> None:
    with op.batch_alter_table('coupon_lines', schema=None) as batch_op:
        batch_op.drop_column('propensity')
        batch_op.drop_column('explored')
