"""A table scored for real, for what reads such tables: readings of two days, with alerts, gaps and a record of runs."""

import pyarrow as pa
import pyarrow.parquet as pq

from tests.reliability.readings import configured, days, of_day, pumps
from vae_model.config.load import parse_config
from vae_model.spark.jobs.run import run

ONE, TWO = days(2)


def config(folder, day=ONE):
    """The job of a day, in a folder."""
    output = {"path": str(folder / "scored"), "format": "delta", "mode": "replace_where"}
    settings = configured(str(folder / "pumps.vae"), str(folder / "source.parquet"), output, of_day(day))
    settings |= {"key": ["id", "day"], "alerts": {"path": str(folder / "alerts"), "budget": 2},
                 "decision": {"by": ["note"], "false_alarm_rate": 0.1}}  # fmt: skip
    settings["model"] |= {"hidden": [8], "codes": 8, "members": 1}
    return parse_config(settings)


def score_two_days(engine, folder):
    """Train, score two days by two runs, and leave the tables in a folder. Two rows are empty: they have no score."""
    table = pa.concat_tables(map(pumps, days(6)))
    for name in ("flow", "pressure"):
        gone = pa.array([None, None, *table[name].to_pylist()[2:]], pa.float64())
        table = table.set_column(table.schema.get_field_index(name), name, gone)
    pq.write_table(table, folder / "source.parquet")
    run(engine, config(folder, ONE), "one", train=True)
    run(engine, config(folder, TWO), "two", train=False)
    return folder
