"""Everything that touches a DataFrame: ``train`` and ``score`` on one; ``run``, the job that a config describes;
``evaluate``, what a model finds on a table, and ``what_if``, what other decisions would flag.
"""

from vae_model.spark.jobs.evaluate import evaluate
from vae_model.spark.jobs.run import run
from vae_model.spark.jobs.score import score
from vae_model.spark.jobs.train import train
from vae_model.spark.jobs.what_if import what_if

__all__ = ["evaluate", "run", "score", "train", "what_if"]
