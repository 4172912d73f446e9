"""Readings of pumps, day by day, a model of them, and the config of a job that scores them."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vae_model import Config, Detector

FIRST_DAY = date(2026, 1, 1)
ROWS = 40
"""Of a day."""
NO_DAY = "day IS NULL"


def pumps(day, version=0):
    """The readings of a day, some of them wild; those of no day where it is None. Another version has other values and
    five rows more.
    """
    number = (day - FIRST_DAY).days if day else 999
    random = np.random.default_rng([number, version])
    rows = ROWS + 5 * version
    flow = random.normal(10, 2, rows)
    pressure = 3 * flow + random.normal(0, 0.3, rows)
    pressure[3] = 4000
    key = np.arange(rows) + 1000 * number
    day_column = pa.array([day] * rows, pa.date32())
    dial = np.random.default_rng([number, version, 1]).integers(0, 256, (rows, 16))  # a picture of 4 x 4
    return pa.table({
        "id": key, "day": day_column, "flow": flow, "pressure": pressure, "note": [f"v{version}"] * rows,
        "dial": pa.array(dial.tolist(), pa.list_(pa.int32())),
    })  # fmt: skip


def days(number):
    """So many days from the first on."""
    return [FIRST_DAY + timedelta(n) for n in range(number)]


def stored(path, *frames):
    """A Parquet file of some readings; its path."""
    pq.write_table(pa.concat_tables(frames), path)
    return str(path)


def trained(path, **features):
    """A small model of the readings, in a file; its path."""
    features = {"include": ["flow", "pressure"], **features}
    config = Config.model_validate({"name": "pumps", "key": ["id"], "features": features, "model": {"steps": 40}})
    table = pa.concat_tables(pumps(day) for day in days(12))
    Detector(config).fit(table.filter(pc.less(table["pressure"], 100))).save(str(path))
    return str(path)


def configured(model_path, source_path, output, where=None, engine="sail"):
    """A config of a job; ``output`` are the keys of that section."""
    return {
        "name": "pumps",
        "engine": engine,
        "key": ["id"],
        "features": {"include": ["flow", "pressure"]},
        "source": {"path": source_path, "format": "parquet", "where": where},
        "model": {"path": model_path, "steps": 40},
        "output": output,
    }


def of_day(day):
    """The predicate of a day's rows."""
    return f"day = DATE '{day}'"
