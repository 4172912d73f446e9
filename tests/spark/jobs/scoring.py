"""The second half of a job, with a model that is there already."""

from vae_model.spark.jobs.prepare import prepare
from vae_model.spark.jobs.score import decide_as_configured, score_prepared


def run_score(engine, config, detector, run_id="a run"):
    """Score the source of a config into its output, as a run with an id; the summary."""
    prepared = prepare(engine, config, detector)
    return score_prepared(prepared, config, decide_as_configured(detector, config), run_id).summary
