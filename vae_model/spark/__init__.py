"""Everything that touches a DataFrame: ``train`` and ``score`` on one, and ``run``, the job that a config describes."""

from vae_model.spark.jobs.run import run
from vae_model.spark.jobs.score import score
from vae_model.spark.jobs.train import train

__all__ = ["run", "score", "train"]
