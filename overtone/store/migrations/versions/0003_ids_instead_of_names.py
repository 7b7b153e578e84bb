"""Models are kept by their ids: how a name is written is the matter of each door."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        "UPDATE tuned_models SET base_model = substr(base_model, 8) WHERE substr(base_model, 1, 7) = 'models/'"
    )
    op.execute(
        "UPDATE tuned_models SET source_tuned_model = substr(source_tuned_model, 13) "
        "WHERE substr(source_tuned_model, 1, 12) = 'tunedModels/'"
    )
