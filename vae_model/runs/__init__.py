"""Runs and models over time: the record of a run, versions of a model."""
