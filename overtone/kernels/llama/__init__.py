"""A Llama-like decoder as compiled functions: a step of answers, and a pass of training."""
