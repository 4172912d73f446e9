"""What a person sees: lines of a log at even steps, and numbers with their nouns."""

import logging

import pytest

from vae_model.console import LogFormat, Reporter
from vae_model.spark.sinks.summary import Anomaly, Reason, Summary
from vae_model.training.loop import TrainingProgress


@pytest.mark.parametrize(("steps", "every"), [(300, 50), (2000, 50), (130, 50), (3, 1), (1800, 50)])
def test_training_is_logged_a_fifth_at_a_time(caplog, steps, every):
    """However many steps: at most five lines, each at the first report past a fifth, the last at the end."""
    reporter = Reporter(LogFormat.plain)
    logging.getLogger("vae_model").propagate = True
    with caplog.at_level(logging.INFO, "vae_model"), reporter.progress() as progress:
        for step in range(1, steps + 1):
            if step % every == 0 or step == steps:
                progress.step(TrainingProgress(step, steps, 1.0, 0.1 * step))
    told = [record.args[0] for record in caplog.records]
    assert 1 <= len(told) <= 5 and told[-1] == steps
    fifths = [5 * step // steps for step in told]
    assert fifths == sorted(set(fifths))


def summary(rows, flagged):
    """A summary with so many flagged rows."""
    top = [Anomaly({"id": i}, 9.0 - i, 0.001, [Reason("flow", 1.0, "1", "2")]) for i in range(min(flagged, 10))]
    return Summary(rows, flagged, {"ok": rows}, top, "scored", "SELECT 1")


@pytest.mark.parametrize(
    ("rows", "flagged", "lines"),
    [
        (1, 1, ["Scored 1 row: 1 anomaly (100.000%).", "\nIt is:\n"]),
        (1200, 2, ["Scored 1,200 rows: 2 anomalies (0.167%).", "\nThe 2 highest scores among them:\n"]),
        (1200, 0, ["Scored 1,200 rows: 0 anomalies (0.000%).", "No row is flagged."]),
    ],
)
def test_a_number_agrees_with_its_noun(capsys, rows, flagged, lines):
    """One row, one anomaly; two anomalies."""
    Reporter(LogFormat.plain).summary(summary(rows, flagged))
    out = capsys.readouterr().out
    for line in lines:
        assert line in out
