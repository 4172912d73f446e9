"""What runs on the workers, and how it gets there."""
