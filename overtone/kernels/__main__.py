"""`python -m overtone.kernels`: compile all kernels now, so that the first engine and trainer do not wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numba
from numba import typeof

from overtone.kernels import adamw
from overtone.kernels.compiled import note_complete
from overtone.kernels.llama import serve, train


def main() -> None:
    model = zeros(serve.Model, floats=("eps", "scale"))
    serve.run_step.compile((typeof(0), typeof(model), typeof(zeros(serve.EngineStep))))
    base = zeros(train.FrozenBase, floats=("eps", "scale"))
    train.run_pass.compile((typeof(0), typeof(base), typeof(zeros(train.Pass))))
    update = zeros(adamw.Update, floats=("beta_1", "beta_2", "eps", "longest", "keep", "rate", "root"))
    adamw.run_update.compile((typeof(0), typeof(update)))
    note_complete(Path(numba.config.CACHE_DIR))  # type: ignore[attr-defined]


def zeros(kind: Any, floats: Sequence[str] = ()) -> Any:
    """Return a kernel's tuple of whole numbers, but for the fields that are floats: its type is what matters."""
    return kind(**dict.fromkeys(kind._fields, 0) | dict.fromkeys(floats, 0.0))


if __name__ == "__main__":
    main()
