"""`init`, then `run`: a table trains on its own errors, and they are found all the same, on every engine."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from tests.spark.jobs.scoring import run_score
from vae_model.config.load import parse_config
from vae_model.spark.jobs.init import starter_config
from vae_model.spark.jobs.train import run_train
from vae_model.spark.sinks.reading import read_output

ROWS = 3000
WILD = {
    41: ("weight", 1e6), 907: ("amount", -5e4), 1500: ("quantity", 900), 2222: ("amount", 1e5), 2718: ("town", "???"),
}  # fmt: skip
"""A row, the column of its wild cell, and what stands there."""


@pytest.fixture
def dirty(tmp_path):
    """Orders of which five have a wild cell each, as a Parquet file."""
    draw = np.random.default_rng(0)
    quantity = 1 + draw.poisson(4, ROWS)
    price = np.exp(2 + 0.3 * draw.normal(size=ROWS))
    columns = {
        "id": list(range(ROWS)), "quantity": quantity.tolist(), "price": price.tolist(),
        "amount": (price * quantity * np.exp(0.02 * draw.normal(size=ROWS))).tolist(),
        "weight": (quantity + 0.2 * draw.normal(size=ROWS)).tolist(),
        "town": draw.choice(["Bonn", "Kiel", "Ulm", "Trier"], ROWS, p=[0.4, 0.3, 0.2, 0.1]).tolist(),
    }  # fmt: skip
    for row, (name, value) in WILD.items():
        columns[name][row] = value
    pq.write_table(pa.table(columns), tmp_path / "orders.parquet")
    return str(tmp_path / "orders.parquet")


@pytest.mark.slow
def test_wild_cells_of_the_sample_are_flagged_and_come_first(engine, dirty, tmp_path):
    """With what `init` writes, rows of the sample are flagged for their wild cells, and first, and few others are."""
    values = YAML(typ="safe").load(starter_config(engine, parse_config({"source": {"path": dirty}})))
    values["model"]["path"], values["output"]["path"] = str(tmp_path / "orders.vae"), str(tmp_path / "scored")
    config = parse_config(values)
    summary = run_score(engine, config, run_train(engine, config))
    flagged = {row["id"] for row in read_output(engine, config.output).where("is_anomaly").select("id").collect()}
    assert flagged >= set(WILD)
    assert len(flagged) <= len(WILD) + ROWS // 100
    first = {row.key["id"]: row.reasons[0].feature for row in summary.top[: len(WILD)]}
    assert first == {row: name for row, (name, _) in WILD.items()}
