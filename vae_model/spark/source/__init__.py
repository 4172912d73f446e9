"""From a table to the rows to train on and to score."""
