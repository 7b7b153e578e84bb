"""Keep which base's engine and trainer are wanted and run, on each host."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "processes",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("base_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("wanted_at", sa.BigInteger()),
        sa.Column("pid", sa.Integer()),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("memory_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("host", "base_id", "kind"),
    )
