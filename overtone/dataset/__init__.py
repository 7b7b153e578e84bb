"""One room for training data: what an example is, the files it comes in, and what can be wrong with it."""
