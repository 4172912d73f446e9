"""Everything that touches a DataFrame: ``train`` and ``score`` on one; ``run``, the job that a config describes;
``summary`` and ``report``, what came of a run; ``evaluate``, what a model finds on a table; ``what_if``, what others
would flag.
"""

from vae_model.spark.jobs.evaluate import evaluate
from vae_model.spark.jobs.report import report
from vae_model.spark.jobs.run import run
from vae_model.spark.jobs.score import score
from vae_model.spark.jobs.summary import summary
from vae_model.spark.jobs.train import train
from vae_model.spark.jobs.what_if import what_if

__all__ = ["evaluate", "report", "run", "score", "summary", "train", "what_if"]
