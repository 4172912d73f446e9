"""Whether a new version is taken into use: what two models say of the same rows, and the limits it is held to."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vae_model import Config, Detector
from vae_model.config.sections import AcceptIf
from vae_model.scoring.likelihood import log_likelihoods
from vae_model.training.acceptance import Comparison


def readings(rows=800, seed=0):
    """Two numbers that hang together and a category, with gaps."""
    draw = np.random.default_rng(seed)
    flow = draw.normal(10, 2, rows)
    table = pd.DataFrame(
        {
            "flow": flow,
            "pressure": 3 * flow + draw.normal(0, 0.3, rows),
            "valve": draw.choice(["open", "shut"], rows, p=[0.8, 0.2]),
            "constant": 1,
        }
    )
    table.loc[::40, "flow"] = None
    return table


def trained(table, **sections):
    """A model of a table that trusts every row, but for what is given."""
    values = {"model": {"steps": 200, "hidden": [16]}, "train": {"trim": 0}, "decision": {"false_alarm_rate": 0.01}}
    return Detector(Config.model_validate(values | sections)).fit(table)


def likelihoods(model, table):
    """(N, D) of all rows of a pandas table."""
    batch = model.spec.encode_table(pa.Table.from_pandas(table, preserve_index=False))
    return np.concatenate(list(log_likelihoods(model.scorer.ensemble, batch)))


def compared(new, current, table):
    """Two models held against the rows of a pandas table."""
    return Comparison.of(new.scorer, current.scorer, pa.Table.from_pandas(table, preserve_index=False))


@pytest.fixture(scope="module")
def good():
    """A model of good rows."""
    return trained(readings())


@pytest.mark.slow
def test_a_model_is_no_better_and_no_worse_than_itself(good):
    """The same model gains nothing, and is taken into use at a limit of 0."""
    found = compared(good, good, readings(300, 1))
    assert (found.gain, found.rows, found.flagged) == (0, 300, found.flagged_before)
    assert found.refusal(AcceptIf(max_score_loss=0)) is None


@pytest.mark.slow
def test_a_model_of_bad_rows_is_refused(good):
    """A unit that was mixed up in part of the sample makes a wide, forgiving model: it holds good rows for less likely,
    and the sentence says by how much.
    """
    mixed = readings()
    mixed.loc[::10, "pressure"] *= 100
    bad, rows = trained(mixed), readings(300, 1)
    found = compared(bad, good, rows)
    assert found.gain < -0.3
    refusal = found.refusal(AcceptIf(max_score_loss=0.1))
    assert refusal[1:] == ("train.accept_if.max_score_loss", 0.1, -found.gain)
    assert refusal.words == (
        f"On 300 held-out rows it loses {-found.gain:.3g} nats a value of log-likelihood against the current version "
        "(train.accept_if.max_score_loss: 0.1)."
    )
    assert found.refusal(AcceptIf()) is found.refusal(AcceptIf(max_score_loss=100)) is None


@pytest.mark.slow
def test_one_gross_error_does_not_decide(good):
    """A row that is beyond all measure under both weighs no more than any other."""
    rows = readings(300, 1)
    other = trained(readings(seed=7))
    before = compared(other, good, rows).gain
    rows.loc[5, "pressure"] = 1e12
    assert compared(other, good, rows).gain == pytest.approx(before, abs=0.02)


@pytest.mark.slow
def test_a_log_likelihood_is_per_unit_of_the_column(good):
    """The same readings in units a thousand times smaller are less dense by just that: log(1000) nats a number."""
    rows, small = readings(300, 1), readings()
    for table in (small, finer := rows.copy()):
        table[["flow", "pressure"]] *= 1000
    scaled = trained(small)
    one, other = likelihoods(good, rows), likelihoods(scaled, finer)
    flow, pressure, valve, constant = (good.spec.names.index(n) for n in ("flow", "pressure", "valve", "constant"))
    for column in (flow, pressure):
        assert np.nanmedian(one[:, column] - other[:, column]) == pytest.approx(np.log(1000), abs=0.05)
    assert np.nanmedian(one[:, valve] - other[:, valve]) == pytest.approx(0, abs=0.05)
    assert np.isnan(one[:, constant]).all()
    assert np.isnan(one[::40, flow]).all() and not np.isnan(one[1::40, flow]).any()


def test_what_never_was_is_as_likely_as_the_rule_of_succession_says(good):
    """A category's value that no training row had is 1 in n + 2, and no value of a row is surer than certain."""
    rows = readings(300, 1)
    rows.loc[5, "valve"] = "ajar"
    valve_N = likelihoods(good, rows)[:, good.spec.names.index("valve")]
    assert valve_N[5] == pytest.approx(-np.log(good.header["training"]["rows"] + 2), rel=1e-6)
    assert valve_N[5] == valve_N.min() and valve_N.max() <= 0


def test_more_flagged_than_allowed_is_refused(good):
    """The share of the held-out rows that is flagged is told beside the current version's."""
    low = good.with_decision(good.config.decision.model_copy(update={"threshold": 0.0}))
    found = compared(low, good, readings(300, 1))
    assert found.flagged == 1 and found.flagged_before < 0.05
    refusal = found.refusal(AcceptIf(max_share_flagged=0.05, max_score_loss=0))
    assert refusal[1:] == ("train.accept_if.max_share_flagged", 0.05, 1)
    assert refusal.words == (
        f"On 300 held-out rows it flags 100.000% of them, the current version {found.flagged_before:.3%} "
        "(train.accept_if.max_share_flagged: 5.000%)."
    )
    assert found.describe() == (
        f"on 300 held-out rows +0 nats a value, 100.000% flagged (the version before: {found.flagged_before:.3%})"
    )


@pytest.mark.slow
def test_what_both_know_is_compared(good):
    """A column that came or went, or became something else, is left out; the others are held against each other."""
    other = readings().rename(columns={"valve": "gate"}).assign(flow=lambda t: t["flow"].astype(str))
    model = trained(other)
    rows = other.head(300)
    found = compared(model, good, rows)
    assert -1 < found.gain < 1
    assert found.flagged_before is None and "before" not in found.describe()


@pytest.mark.slow
def test_where_nothing_can_be_compared_the_new_version_is_refused(good):
    """With a limit on the loss and no column in common there is no figure that could keep it."""
    other = readings().rename(columns=lambda name: f"new {name}")
    found = compared(trained(other), good, other.head(300))
    assert found.gain is None
    assert "has no value that could be compared" in found.refusal(AcceptIf(max_score_loss=1)).words
    assert found.refusal(AcceptIf(max_share_flagged=0.9)) is None
