"""Networks as scoring runs them, in NumPy."""
