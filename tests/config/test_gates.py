"""Gates: limits that make sense, on what is computed."""

import pytest

from vae_model.config.load import parse_config
from vae_model.errors import ConfigError

PLACES = {"source": {"path": "a"}, "output": {"path": "b"}, "model": {"path": "m.vae"}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gates": {"max_anomaly_rate": 0}}, "gates.max_anomaly_rate: input should be greater than 0"),
        ({"gates": {"max_anomaly_rate": 1.01}}, "gates.max_anomaly_rate: input should be less than or equal to 1"),
        ({"gates": {"max_unscored": -0.1}}, "gates.max_unscored: input should be greater than 0"),
        ({"gates": {"max_unscored": "5 %"}}, "gates.max_unscored: input should be a valid number"),
        ({"gates": {"max_missing_increase": 2}}, "gates.max_missing_increase"),
        ({"gates": {"max_drift": 0}}, "gates.max_drift: input should be greater than 0"),
        ({"gates": {"min_rows": 0}}, "gates.min_rows: input should be greater than or equal to 1"),
        ({"gates": {"min_rows": 1.5}}, "gates.min_rows"),
        ({"gates": {"max_row": 1}}, "gates.max_row"),
        ({"gates": {"max_drift": 0.2}, "drift": {"rows": 0}}, "gates.max_drift needs drift.rows above 0"),
        ({"gates": {"max_missing_increase": 0.2}, "drift": {"rows": 0}}, "gates.max_missing_increase needs drift.rows"),
        ({"gates": {"keep_rejected": {"path": "c"}}}, "'keep_rejected' goes with a gate"),
        ({"gates": {"min_rows": 1, "keep_rejected": {"path": "c", "table": "d"}}}, "give either 'path' or 'table'"),
        ({"gates": {"min_rows": 1, "keep_rejected": {"path": "m.vae"}}},
         "model.path must not lie at or within gates.keep_rejected.path"),
        ({"drift": {"rows": -1}}, "drift.rows"),
    ],
)  # fmt: skip
def test_a_gate_that_makes_no_sense_is_refused(changes, said):
    """Before anything runs, by its dotted name."""
    with pytest.raises(ConfigError) as caught:
        parse_config(PLACES | changes)
    assert said in str(caught.value)


def test_gates_are_no_part_of_what_a_run_is():
    """The same run is tried again with other limits: neither its digest nor its rows change."""
    plain = parse_config(PLACES)
    gated = parse_config(PLACES | {"gates": {"min_rows": 5}, "drift": {"rows": 10}})
    assert plain.digest == gated.digest
    assert not plain.gates.limits and gated.gates.limits == {"min_rows": 5}


def test_which_gates_need_what():
    """Columns are compared for two of them, rows are scored for two others."""
    gates = parse_config(PLACES | {"gates": {"min_rows": 5, "max_drift": 0.2}}).gates
    assert gates.needs_drift == ["max_drift"] and not gates.needs_scores
    assert parse_config(PLACES | {"gates": {"max_unscored": 0.2}}).gates.needs_scores
