"""A model's bytes and Arrow columns in, output columns out: what a worker runs, in NumPy."""
