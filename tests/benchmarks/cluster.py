"""What reaches the workers, what they hold in memory, and a two-executor cluster against local mode.

    python tests/benchmarks/cluster.py [--rows 1000000] [--repeats 3] [--json FILE]

From the folder of a checkout whose environments `make test` has made; needs Java. Prints three tables:

- sizes by columns: the model's bytes (the broadcast), the pickle of the UDF, and the largest Python worker while
  tables of ``--rows`` x 32 cells are scored, of 10, 100 and 1,000 columns, as the job itself reports it;
- the same with other Arrow batches, for the widest table;
- rows/s of ``jobs/score.py`` on a standalone cluster of two executors of one core against local[2], taking turns:
  the job's own figure for scoring and writing. Both run on one machine, so the best a cluster can do here is 1.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark import cloudpickle

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cluster.conftest import Cluster  # noqa: E402

WIDTHS, FACTORS, FILES = (10, 100, 1000), 6, 4
LEAST_ROWS = 64_000
"""Several full Arrow batches a task, even of the widest table."""
STAGE = re.compile(r"Stage scoring: rows ([\d,]+), .*rows per second ([\d,]+), worker peak mb ([\d,]+)")


def table(folder: Path, rows: int, columns: int) -> pd.DataFrame:
    """Write correlated numbers as Parquet files, and return the first of them."""
    draw = np.random.default_rng(0)
    loadings = draw.normal(size=(FACTORS, columns))
    folder.mkdir(parents=True)
    first = None
    for file in range(FILES):
        x = draw.normal(size=(rows // FILES, FACTORS)) @ loadings + 0.5 * draw.normal(size=(rows // FILES, columns))
        frame = pd.DataFrame(x, columns=[f"c{i:04}" for i in range(columns)])
        frame.insert(0, "id", np.arange(len(frame)) + file * len(frame))
        frame.to_parquet(folder / f"part-{file}.parquet", index=False)
        first = frame if first is None else first
    return first


def prepare(folder: Path, rows: int, columns: int) -> tuple[Path, int, int]:
    """A table, a config and a model; the model's bytes and the bytes of the UDF's pickle on classic Spark."""
    from vae_model import Config, Detector
    from vae_model.spark.workers import udf

    sample = table(folder / "source", rows, columns).head(5000)
    values = {"name": "wide", "key": ["id"], "source": {"path": str(folder / "source")}, "model": {"steps": 200}}
    detector = Detector(Config.model_validate(values)).fit(sample)
    detector.save(str(folder / "model.vae"))
    values["model"] = {"path": str(folder / "model.vae")}
    values["output"] = {"path": str(folder / "out"), "format": "parquet"}
    (folder / "job.yaml").write_text(json.dumps(values))
    rule = detector.scorer.rule
    carried = udf._arrow_scoring("0" * 64, rule, lambda: b"", lambda: None)  # all but the broadcast's number
    return folder / "job.yaml", len(detector.to_bytes()), len(cloudpickle.dumps(carried))


def submit(cluster: Cluster, config: Path, name: str, master: str | None = None, conf: dict | None = None) -> tuple:
    """Rows/s and the largest worker, in MB, of one scoring job."""
    folder = config.parent / name
    memory = {"spark.executor.memory": "1g", "spark.driver.memory": "2g", **(conf or {})}
    job = cluster.submit(folder, ROOT / "jobs" / "score.py", "--config", config, conf=memory, master=master)
    if job.wait(1800):
        raise SystemExit(job.text[-3000:])
    found = STAGE.search(job.text)
    return tuple(int(text.replace(",", "")) for text in found.groups()[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="rows of 32 columns; others as many cells, 64,000 rows at least"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict = {"sizes": [], "batches": [], "speeds": []}
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        cluster = Cluster(work)
        cluster.start()
        try:
            print(f"{'columns':>8}{'rows':>10}{'model KB':>10}{'pickle KB':>10}{'worker MB':>10}", flush=True)
            for columns in WIDTHS:
                rows = max(arguments.rows * 32 // columns, LEAST_ROWS) // FILES * FILES
                config, model, pickled = prepare(work / f"wide{columns}", rows, columns)
                _, peak = submit(cluster, config, "job")
                sizes = {"columns": columns, "rows": rows, "model": model, "pickle": pickled, "peak_mb": peak}
                found["sizes"].append(sizes)
                print(f"{columns:>8}{rows:>10,}{model / 1e3:>10.0f}{pickled / 1e3:>10.1f}{peak:>10}", flush=True)
            print(f"\n{'rows a batch, 1,000 columns':>30}{'worker MB':>10}")
            for batch in (1000, 10_000, 50_000):
                conf = {"spark.sql.execution.arrow.maxRecordsPerBatch": str(batch)}
                _, peak = submit(cluster, config, f"batch{batch}", conf=conf)
                found["batches"].append({"rows": batch, "peak_mb": peak})
                print(f"{batch:>30,}{peak:>10}", flush=True)
            config, *_ = prepare(work / "speed", arguments.rows, 32)
            for turn in range(arguments.repeats):
                pair = [submit(cluster, config, f"{turn}-{master}", master)[0] for master in (None, "local[2]")]
                found["speeds"].append(pair)
                print(f"rows/s: cluster {pair[0]:,}, local[2] {pair[1]:,}", flush=True)
        finally:
            cluster.stop()
    ratio = statistics.median(one / other for one, other in found["speeds"])
    print(f"cluster against local[2]: {ratio:.2f} times the rows/s")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
