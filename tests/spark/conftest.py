"""A small mixed table, and a detector trained on it without Spark."""

import numpy as np
import pandas as pd
import pytest

from vae_model import Config, Detector

ROWS = 1200
ODD = "dotted.näme with `ticks` and, commas"
SMALL = {"steps": 300}
"""Settings of a network that trains in a second: these tests are not about quality."""


def mixed_rows(rows=ROWS, seed=0):
    """Numbers that hang together, categories, a boolean, times, decimals, an array, gaps, and an odd name."""
    random = np.random.default_rng(seed)
    a = random.normal(size=rows)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "a": np.where(random.random(rows) < 0.05, np.nan, a),
            ODD: 3 * a + random.normal(scale=0.1, size=rows),
            "colour": random.choice(["red", "green", "blue", None], rows, p=[0.5, 0.3, 0.15, 0.05]),
            "flag": random.random(rows) < 0.2,
            "at": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(random.integers(0, 5000, rows), unit="h"),
            "Day": (pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 300, rows), unit="D")).date,
            "count": random.poisson(4, rows),
            "vector": list(random.normal(size=(rows, 3))),
            "note": [f"note {i}" for i in range(rows)],
        }
    )


@pytest.fixture(scope="session")
def rows():
    """The table as pandas."""
    return mixed_rows()


@pytest.fixture(scope="session")
def config():
    """Its config, without places."""
    return Config.model_validate(
        {
            "name": "mixed",
            "key": ["id"],
            "features": {"exclude": ["note"]},
            "model": SMALL,
            "decision": {"false_alarm_rate": 0.02},
        }
    )


@pytest.fixture(scope="session")
def detector(rows, config):
    """Trained without Spark."""
    return Detector(config).fit(rows)


@pytest.fixture
def path(rows, tmp_path):
    """The table as a Parquet folder of two files, so that order bugs show."""
    folder = tmp_path / "source"
    folder.mkdir()
    for i, part in enumerate(np.array_split(np.arange(len(rows)), 2)):
        rows.iloc[part].to_parquet(folder / f"part{i}.parquet", index=False, coerce_timestamps="us")
    return str(folder)


@pytest.fixture
def frame(engine, path):
    """The table as a DataFrame of the engine."""
    return engine.read.parquet(path)
