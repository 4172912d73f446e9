"""Everything that touches a DataFrame: ``train`` and ``score`` on one, and the jobs that a config describes."""

from vae_model.spark.jobs.score import score, train

__all__ = ["score", "train"]
