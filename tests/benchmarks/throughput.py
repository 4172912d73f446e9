"""Throughput, memory and training time on a table of correlated numbers.

    python tests/benchmarks/throughput.py [--rows 4000000] [--columns 32] [--repeats 3] [--work DIR] [--json FILE]

Parquet to Parquet, three ways of scoring:

- ours on Sail: the ``score`` job, seven output columns, embedded engine
- plain torch UDF: a pandas UDF around a small torch autoencoder, two output columns, classic Spark on local[*]
- ours on Spark: the ``score`` job on the same classic session

and the ``train`` job at a fixed ``train.rows`` on tables of three sizes. Every measurement is a process of its own,
and the ways take turns, so that a noisy neighbour meets all of them; the table shows medians. Seconds are the job's
(open, score, write; ours checks its input and reads its summary back too), without imports, the model's loading and the
start of the session. Memory is resident set size, polled from outside: the process that was started, its largest
Python worker, its JVM. Sail's workers are threads, so its process is engine, workers and client in one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
FILES, ROW_GROUP, FACTORS = 16, 65_536, 6
SHARES = (16, 4, 1)
"""The tables: a sixteenth of the rows, a quarter, all."""
TRAIN_ROWS = 50_000
WAYS = {"sail": "ours on Sail", "torch": "plain torch UDF", "spark": "ours on Spark"}
POLL = 0.1
MB = 1e6


def generate(work: Path, rows: int, columns: int) -> None:
    """A table in ``FILES`` files, written chunk by chunk, and folders with links to its first files."""
    draw = np.random.default_rng(0)
    loadings, level = draw.normal(size=(FACTORS, columns)), draw.normal(scale=100, size=columns)
    schema = pa.schema([("id", pa.int64()), *((f"c{i:02}", pa.float64()) for i in range(columns))])
    for share in SHARES:
        (work / f"table-{share}").mkdir(parents=True)
    for file in range(FILES):
        path = work / "table-1" / f"part-{file:02}.parquet"
        first, last = rows * file // FILES, rows * (file + 1) // FILES
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(first, last, ROW_GROUP):
                count = min(ROW_GROUP, last - start)
                x = draw.normal(size=(count, FACTORS)) @ loadings + 0.5 * draw.normal(size=(count, columns))
                arrays = [np.arange(start, start + count), *np.ascontiguousarray((level + 7 * x).T)]
                writer.write_table(pa.table(dict(zip(schema.names, arrays, strict=True)), schema))
        for share in SHARES[:-1]:
            if file < FILES // share:
                os.link(path, work / f"table-{share}" / path.name)


def plain_network(work: Path):
    """The columns' names; the weights of a torch autoencoder, and the columns' means and deviations."""
    import torch

    sample = pq.ParquetFile(work / "table-16" / "part-00.parquet").read_row_group(0).to_pandas().drop(columns="id")
    torch.manual_seed(0)
    state = {name: tensor.numpy() for name, tensor in plain_layers(sample.shape[1]).state_dict().items()}
    return list(sample), (state, sample.mean().to_numpy(np.float32), sample.std().to_numpy(np.float32))


def plain_layers(columns: int):
    """Its layers: 64-32-4-32-64."""
    from torch import nn

    widths = [columns, 64, 32, 4, 32, 64, columns]
    return nn.Sequential(*[layer for i, o in pairwise(widths) for layer in (nn.Linear(i, o), nn.ReLU())][:-1])


def plain_scores(frame, names: list[str], parts):
    """What one would write by hand: the network in a pandas UDF, its weights broadcast."""
    from pyspark.sql import functions as F

    broadcast = frame.sparkSession.sparkContext.broadcast(parts)

    def score(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.DataFrame]:
        import torch

        state, center, scale = broadcast.value
        network = plain_layers(len(names)).eval()
        network.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
        with torch.inference_mode():
            for columns in batches:
                x = torch.from_numpy((np.column_stack(columns).astype(np.float32) - center) / scale)
                error = ((network(x) - x) ** 2).mean(dim=1).numpy()
                yield pd.DataFrame({"reconstruction_error": error.astype(float), "is_anomaly": error > 5})

    score.__annotations__ = {"batches": Iterator[tuple[pd.Series, ...]], "return": Iterator[pd.DataFrame]}
    udf = F.pandas_udf(score, "reconstruction_error double, is_anomaly boolean")
    return frame.withColumn("scored", udf(*names)).select(*frame.columns, "scored.*")


def run_task(work: Path, task: str, share: int) -> None:
    """One measurement, in the process it has to itself: ``sail``, ``torch``, ``spark`` or ``train``."""
    from vae_model import Config, Detector
    from vae_model.spark import engines, jobs

    settings = Config.model_validate({
        "name": "throughput", "engine": "sail" if task in ("sail", "train") else "spark", "key": ["id"],
        "source": {"path": str(work / f"table-{share}")}, "train": {"rows": TRAIN_ROWS},
        "model": {"path": str(work / "model.vae")}, "output": {"path": str(work / "out"), "format": "parquet"},
    })  # fmt: skip
    detector = Detector.load(str(work / "model.vae")) if task in ("sail", "spark") else None
    plain, extra = plain_network(work) if task == "torch" else (), {}
    before_session = time.perf_counter()
    with engines.session(settings.engine, needs_delta=False) as spark:
        before, started = psutil.Process().memory_info().rss, time.perf_counter()
        if task == "train":
            stamps = []  # the first thing that the job logs is its sample
            jobs.log.setLevel("INFO")
            jobs.log.addFilter(lambda record: stamps.append(time.perf_counter()))
            jobs.run_train(spark, settings)
            extra = {"sampling_s": stamps[0] - started, "rest_s": time.perf_counter() - stamps[0]}
        elif task == "torch":
            frame = spark.read.parquet(settings.source.path)
            plain_scores(frame, *plain).write.parquet(settings.output.path)
        else:
            extra = {"anomalies": jobs.run_score(spark, settings, detector).anomalies}
        seconds = time.perf_counter() - started
    found = {"seconds": seconds, "session_s": started - before_session, "rss_before_mb": before / MB, **extra}
    (work / "result.json").write_text(json.dumps(found))


def poll_memory(root: psutil.Process, peak: dict[str, float]) -> None:
    """Raise ``peak`` to what the process, its JVM and its largest Python worker hold now, in MB."""
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.Error):
            kind = "process" if process == root else "jvm" if process.name() == "java" else "worker"
            if kind != "worker" or "pyspark.daemon" in process.cmdline():
                peak[kind] = max(peak.get(kind, 0), process.memory_info().rss / MB)


def measure(work: Path, task: str, share: int) -> dict:
    """Start a measurement, poll its memory until it ends, check what it wrote and remove it."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    variables |= {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    variables |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(work)}
    log, load, peak = work / "log.txt", os.getloadavg()[0], {}
    command = [sys.executable, __file__, "--work", str(work), "--task", task, str(share)]
    with log.open("wb") as sink, subprocess.Popen(command, env=variables, cwd=work, stdout=sink, stderr=sink) as child:
        while child.poll() is None:
            with suppress(psutil.Error):
                poll_memory(psutil.Process(child.pid), peak)
            time.sleep(POLL)
    if child.returncode:
        raise SystemExit(f"{task} failed:\n{log.read_text(errors='replace')[-3000:]}")
    files = [list((work / folder).rglob("*.parquet")) for folder in (f"table-{share}", "out")]
    rows, written = (sum(pq.read_metadata(path).num_rows for path in paths) for paths in files)
    found = {"task": task, "share": share, "rows": rows, "load_before": load}
    found |= json.loads((work / "result.json").read_text()) | {f"peak_{kind}_mb": mb for kind, mb in peak.items()}
    if task != "train":
        assert written == rows, f"{task} wrote {written} of {rows} rows"
        found["rows_per_s"] = rows / found["seconds"]
        shutil.rmtree(work / "out")
    os.sync()  # what one measurement wrote must not be flushed during the next
    return found


def environment() -> dict:
    """The machine and the versions, without names or paths."""
    cpu = platform.machine()
    with suppress(OSError):
        cpu = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0].strip("\t: ") or cpu
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.partition("\n")[0]
    packages = ("spark-vae-anomaly", "pyspark", "pysail", "torch", "numpy", "pandas", "pyarrow")
    memory = f"{psutil.virtual_memory().total / 1e9:.0f} GB"
    found = {"cpu": cpu, "cores": os.cpu_count(), "memory": memory, "system": platform.system()}
    found |= {"python": platform.python_version(), "java": java, "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS")}
    return found | {package: version(package) for package in packages}


def report(runs: list[dict]) -> dict:
    """Print medians; return the ratios of rows/s, taken round by round."""

    def row(label: str, task: str, share: int, columns: list[tuple]) -> str:
        some = [run for run in runs if (run["task"], run["share"]) == (task, share)]
        medians = [statistics.median(run[key] for run in some) if key in some[0] else None for _, key, _ in columns]
        cells = ["–" if m is None else f"{m:{form}}" for m, (_, _, form) in zip(medians, columns, strict=True)]
        return f"{label:16}" + "".join(f"{cell:>12}" for cell in cells)

    job = [("rows", "rows", ",.0f"), ("session s", "session_s", ".1f"), ("job s", "seconds", ".1f")]
    memory = [("start MB", "rss_before_mb", ".0f"), ("peak MB", "peak_process_mb", ".0f")]
    memory += [("worker MB", "peak_worker_mb", ".0f"), ("JVM MB", "peak_jvm_mb", ".0f")]
    scoring = [*job, ("rows/s", "rows_per_s", ",.0f"), *memory]
    training = [*job, ("sampling s", "sampling_s", ".1f"), ("rest s", "rest_s", ".1f"), *memory[:2]]
    seen = sorted({(run["task"], run["share"]) for run in runs})
    for columns, tasks in ((scoring, list(WAYS)), (training, ["train"])):
        print(f"\n{'':16}" + "".join(f"{head:>12}" for head, _, _ in columns))
        for task in tasks:
            print(*(row(WAYS.get(task, task), task, share, columns) for one, share in seen if one == task), sep="\n")
    print()
    ratios = {}
    for one, other in (("sail", "torch"), ("spark", "torch"), ("sail", "spark")):
        speeds = [[r["rows_per_s"] for r in runs if (r["task"], r["share"]) == (task, 1)] for task in (one, other)]
        rounds = [a / b for a, b in zip(*speeds, strict=True)]
        ratios[f"{one}/{other}"] = {"median": statistics.median(rounds), "rounds": rounds}
        spread = f"{statistics.median(rounds):.2f} times the rows/s (from {min(rounds):.2f} to {max(rounds):.2f})"
        print(f"{WAYS[one]} against {WAYS[other]}: {spread}")
    return ratios


def main() -> None:
    """Generate, train, take turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="an empty or new folder, kept; a temporary one by default")
    parser.add_argument("--json", type=Path, help="write every measurement and the ratios here")
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        run_task(arguments.work, arguments.task[0], int(arguments.task[1]))
        return
    scoring = [("sail", 1), ("torch", 1), ("spark", 1), ("sail", 4), ("spark", 4)]
    with tempfile.TemporaryDirectory() as temporary:
        work, runs = (arguments.work or Path(temporary)).resolve(), []
        generate(work, arguments.rows, arguments.columns)
        for task, share in [*(("train", share) for share in SHARES), *scoring] * arguments.repeats:
            runs.append(measure(work, task, share))
            print(f"{task:6} {runs[-1]['rows']:>10,} rows {runs[-1]['seconds']:>8.1f} s", flush=True)
        ratios = report(runs)
    if arguments.json:
        found = {"environment": environment(), "columns": arguments.columns, "ratios": ratios, "runs": runs}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
