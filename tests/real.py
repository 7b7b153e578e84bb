"""The real base model, for slow tests: pulled once into the user's data folder."""

from __future__ import annotations

from pathlib import Path

from overtone.bases.fetch import pull_default
from overtone.config import DEFAULT_BASE, Settings


def bases_folder() -> Path:
    """Return the folder of base models, with the default one in it."""
    bases = Settings.load().bases
    pull_default(bases, lambda stage, done, total: None)
    return bases


def base_folder() -> Path:
    """Return the default base's own folder."""
    return bases_folder() / DEFAULT_BASE
