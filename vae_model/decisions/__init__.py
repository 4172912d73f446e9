"""From scores to p-values, and from p-values to decisions."""
