"""`python -m overtone.train.kernels`: compile the kernels now, so that the first trainer does not wait for it."""

from __future__ import annotations

from numba import typeof

from overtone.train.kernels import adamw, llama


def main() -> None:
    base = llama.Base(**dict.fromkeys(llama.Base._fields, 0) | {"eps": 0.0, "scale": 0.0})
    run = llama.Pass(**dict.fromkeys(llama.Pass._fields, 0))
    llama.run_pass.compile((typeof(0), typeof(base), typeof(run)))
    numbers = dict.fromkeys(("beta_1", "beta_2", "eps", "longest", "keep", "rate", "root"), 0.0)
    update = adamw.Update(**dict.fromkeys(adamw.Update._fields, 0) | numbers)
    adamw.run_update.compile((typeof(0), typeof(update)))


if __name__ == "__main__":
    main()
