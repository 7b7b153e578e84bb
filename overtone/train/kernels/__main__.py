"""`python -m overtone.train.kernels`: compile the kernels now, so that the first trainer does not wait for it."""

from __future__ import annotations

from numba import typeof

from overtone.train.kernels import llama


def main() -> None:
    base = llama.Base(**dict.fromkeys(llama.Base._fields, 0) | {"eps": 0.0, "scale": 0.0})
    run = llama.Pass(**dict.fromkeys(llama.Pass._fields, 0))
    llama.run_pass.compile((typeof(0), typeof(base), typeof(run)))


if __name__ == "__main__":
    main()
