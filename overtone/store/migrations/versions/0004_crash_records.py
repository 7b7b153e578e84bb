"""Keep in the job's row what is known of its crashes, which lay in a file beside it (attempts.json).

The files are not read. Every job starts with an empty record: a job that had been suspected may crash the trainer as
often again before it is given up, at most three times, and no reader of an old file has to stay behind for that.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("crash_record", sa.JSON()))
