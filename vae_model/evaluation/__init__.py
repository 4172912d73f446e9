"""What a model, or another decision, would find on a table. Pure: on counts and arrays."""
