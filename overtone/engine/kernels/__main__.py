"""`python -m overtone.engine.kernels`: compile the kernels now, so that the first engine does not wait for it."""

from __future__ import annotations

from numba import typeof

from overtone.engine.kernels import llama


def main() -> None:
    model = llama.Model(**dict.fromkeys(llama.Model._fields, 0) | {"eps": 0.0, "scale": 0.0})
    step = llama.Step(**dict.fromkeys(llama.Step._fields, 0))
    llama.run_step.compile((typeof(0), typeof(model), typeof(step)))


if __name__ == "__main__":
    main()
