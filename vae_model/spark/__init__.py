"""Everything that touches a DataFrame: ``train`` and ``score`` on one; ``run``, the job that a config describes, and
``what_if``, what other decisions would flag.
"""

from vae_model.spark.jobs.evaluate import what_if
from vae_model.spark.jobs.run import run
from vae_model.spark.jobs.score import score
from vae_model.spark.jobs.train import train

__all__ = ["run", "score", "train", "what_if"]
