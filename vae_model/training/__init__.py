"""From normal rows to what a model file holds: the only room that imports torch."""
