"""Products with a base's tiles, for the kernels of the engine and of the trainer."""
