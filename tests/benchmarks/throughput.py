"""Throughput, memory and training time on a table of correlated numbers.

    python tests/benchmarks/throughput.py [--rows 4000000] [--columns 32] [--repeats 3] [--work DIR] [--json FILE]

Parquet to Parquet, three ways of scoring:

- ours on Sail: the ``score`` job, seven output columns, embedded engine
- plain torch UDF: a pandas UDF around a small torch autoencoder, two output columns, classic Spark on local[*]
- ours on Spark: the ``score`` job on the same classic session

and the ``train`` job at a fixed ``train.rows`` on tables of three sizes. Every measurement is a process of its own,
and the ways take turns, so that a noisy neighbour meets all of them; the table shows medians. Seconds are the job's
(open, score, write; ours checks its input and reads its summary back too), without the start of the session. Memory is
resident set size, polled from outside. Classic Spark forks Python workers; Sail's workers are threads, so its figure is
the whole process: engine, workers and client.
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
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
FILES, ROW_GROUP, FACTORS = 16, 65_536, 6
SHARES = (16, 4, 1)
"""The tables: every row, a quarter, a sixteenth."""
TRAIN_ROWS = 50_000
WAYS = {"sail": "ours on Sail", "torch": "plain torch UDF", "spark": "ours on Spark"}
POLL = 0.1
MB = 1e6


def generate(work: Path, rows: int, columns: int) -> None:
    """A table in ``FILES`` files, written chunk by chunk, and folders with links to its first files."""
    draw = np.random.default_rng(0)
    loadings, level = draw.normal(size=(FACTORS, columns)), draw.normal(scale=100, size=columns)
    spread = np.exp(draw.normal(size=columns))
    names = [f"c{i:02}" for i in range(columns)]
    for share in SHARES:
        (work / f"table-{share}").mkdir(parents=True)
    for file in range(FILES):
        path = work / "table-1" / f"part-{file:02}.parquet"
        first, last = rows * file // FILES, rows * (file + 1) // FILES
        schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in names)])
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(first, last, ROW_GROUP):
                count = min(ROW_GROUP, last - start)
                x = draw.normal(size=(count, FACTORS)) @ loadings + 0.5 * draw.normal(size=(count, columns))
                x = level + spread * x
                arrays = [np.arange(start, start + count), *np.ascontiguousarray(x.T)]
                writer.write_table(pa.table(dict(zip(schema.names, arrays, strict=True)), schema))
        for share in SHARES[:-1]:
            if file < FILES // share:
                os.link(path, work / f"table-{share}" / path.name)


def config(work: Path, engine: str, share: int, output: str = "out", model: str = "model.vae"):
    """Our config for one job."""
    from vae_model.config import parse_config

    return parse_config({
        "name": "throughput", "engine": engine, "key": ["id"],
        "source": {"path": str(work / f"table-{share}")},
        "train": {"rows": TRAIN_ROWS},
        "model": {"path": str(work / model)},
        "output": {"path": str(work / output), "format": "parquet"},
    })  # fmt: skip


def plain_scores(frame, names: list[str]):
    """What one would write by hand: a torch autoencoder in a pandas UDF, its weights broadcast."""
    import torch
    from pyspark.sql import functions as F

    def build():
        widths = [len(names), 64, 32, 4, 32, 64, len(names)]
        layers = [layer for i, o in zip(widths, widths[1:], strict=False) for layer in (torch.nn.Linear(i, o), torch.nn.ReLU())]
        return torch.nn.Sequential(*layers[:-1])

    torch.manual_seed(0)
    sample = frame.select(names).limit(10_000).toPandas()
    center, scale = (torch.tensor(s.to_numpy(), dtype=torch.float32) for s in (sample.mean(), sample.std()))
    state = {name: tensor.numpy() for name, tensor in build().state_dict().items()}
    weights = frame.sparkSession.sparkContext.broadcast((state, center.numpy(), scale.numpy()))

    def score(batches: Iterator[tuple[pd.Series, ...]]) -> Iterator[pd.DataFrame]:
        state, center, scale = weights.value
        network = build().eval()
        network.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
        with torch.inference_mode():
            for columns in batches:
                x = torch.from_numpy((np.column_stack(columns).astype(np.float32) - center) / scale)
                error = ((network(x) - x) ** 2).mean(dim=1).numpy()
                yield pd.DataFrame({"reconstruction_error": error.astype(float), "is_anomaly": error > 5})

    score.__annotations__ = {"batches": Iterator[tuple[pd.Series, ...]], "return": Iterator[pd.DataFrame]}
    udf = F.pandas_udf(score, "reconstruction_error double, is_anomaly boolean")
    return frame.withColumn("scored", udf(*names)).select(*frame.columns, "scored.*")


def run_task(work: Path, task: str, share: int) -> dict:
    """One measurement, in the process it has to itself: ``sail``, ``torch``, ``spark`` or ``train``."""
    from vae_model import Detector
    from vae_model.spark import engines, jobs, sampling

    settings = config(work, "sail" if task in ("sail", "train") else "spark", share, model="train.vae")
    detector = Detector.load(str(work / "train.vae")) if task in ("sail", "spark") else None
    extra = {}
    started = time.perf_counter()
    with engines.session(settings.engine, needs_delta=False) as spark:
        session, before = time.perf_counter() - started, psutil.Process().memory_info().rss
        started = time.perf_counter()
        if task == "train":
            draw = sampling.draw

            def timed(*arguments):
                begun = time.perf_counter()
                sample = draw(*arguments)
                extra["sampling_s"] = time.perf_counter() - begun
                return sample

            sampling.draw = timed
            jobs.run_train(spark, settings)
        elif task == "torch":
            frame = spark.read.parquet(settings.source.path)
            plain_scores(frame, frame.columns[1:]).write.parquet(settings.output.path)
        else:
            extra["anomalies"] = jobs.run_score(spark, settings, detector).anomalies
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "session_s": session, "rss_before_mb": before / MB, **extra}


def measure(work: Path, task: str, share: int) -> dict:
    """Start a measurement, poll its memory until it ends, check what it wrote and remove it."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    environment = keep | {
        "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(work),
    }  # fmt: skip
    result, log = work / "result.json", work / "log.txt"
    load = os.getloadavg()[0]
    command = [sys.executable, __file__, "--work", str(work), "--task", task, "--share", str(share)]
    with log.open("wb") as sink, subprocess.Popen(command, env=environment, cwd=work, stdout=sink, stderr=sink) as child:
        peak = {"process": 0.0, "jvm": 0.0, "worker": 0.0}
        workers = set()
        while child.poll() is None:
            with suppress(psutil.Error):
                root = psutil.Process(child.pid)
                for process in [root, *root.children(recursive=True)]:
                    with suppress(psutil.Error):
                        is_worker = any("pyspark" in word for word in process.cmdline()[1:])
                        kind = "process" if process == root else "jvm" if process.name() == "java" else "worker"
                        if kind != "worker" or is_worker:
                            peak[kind] = max(peak[kind], process.memory_info().rss / MB)
                        if kind == "worker" and is_worker:
                            workers.add(process.pid)
            time.sleep(POLL)
    if child.returncode:
        raise SystemExit(f"{task} failed:\n{log.read_text(errors='replace')[-3000:]}")
    found = json.loads(result.read_text()) | {f"peak_{kind}_mb": round(mb, 1) for kind, mb in peak.items() if mb}
    found |= {"task": task, "share": share, "load_before": load}
    found["rows"] = sum(pq.read_metadata(p).num_rows for p in (work / f"table-{share}").glob("*.parquet"))
    if task != "train":
        written = sum(pq.read_metadata(p).num_rows for p in (work / "out").rglob("*.parquet"))
        assert written == found["rows"], f"{task} wrote {written} of {found['rows']} rows"
        found["rows_per_s"] = found["rows"] / found["seconds"]
        shutil.rmtree(work / "out")
    os.sync()  # what one measurement wrote must not be flushed during the next
    return found


def environment() -> dict:
    """The machine and the versions, without names or paths."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    packages = ("spark-vae-anomaly", "pyspark", "pysail", "torch", "numpy", "pandas", "pyarrow")
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    return {
        "cpu": cpu, "cores": os.cpu_count(), "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": platform.system(), "python": platform.python_version(), "java": java[0] if java else None,
        **{package: version(package) for package in packages},
    }  # fmt: skip


def report(runs: list[dict]) -> dict:
    """Print the table; return the ratios."""
    def median(task, share, key):
        values = [run[key] for run in runs if (run["task"], run["share"]) == (task, share) and key in run]
        return statistics.median(values) if values else float("nan")

    print(f"\n{'':16}{'rows':>11}{'job s':>8}{'rows/s':>10}{'start s':>9}{'before MB':>11}{'peak MB':>9}{'worker MB':>11}{'JVM MB':>8}")
    keys = ("seconds", "rows_per_s", "session_s", "rss_before_mb", "peak_process_mb", "peak_worker_mb", "peak_jvm_mb")
    for task, share in dict.fromkeys((run["task"], run["share"]) for run in runs if run["task"] != "train"):
        rows, values = median(task, share, "rows"), [median(task, share, key) for key in keys]
        cells = "".join(f"{v:>{w}{f}}" for v, w, f in zip(values, (8, 10, 9, 11, 9, 11, 8), (".1f", ",.0f", ".1f", *[".0f"] * 4), strict=True))
        print(f"{WAYS[task]:16}{rows:>11,.0f}{cells.replace('nan', '  –')}")
    print(f"\n{'train':16}{'rows':>11}{'job s':>8}{'of it sampling':>16}{'rest':>7}{'peak MB':>9}")
    for share in SHARES:
        rows, seconds, drawing, peak = (median("train", share, k) for k in ("rows", "seconds", "sampling_s", "peak_process_mb"))
        rest = statistics.median(r["seconds"] - r["sampling_s"] for r in runs if (r["task"], r["share"]) == ("train", share))
        print(f"{'':16}{rows:>11,.0f}{seconds:>8.1f}{drawing:>16.1f}{rest:>7.1f}{peak:>9.0f}")
    ratios = {}
    print()
    for one, other in (("sail", "torch"), ("spark", "torch"), ("sail", "spark")):
        speeds = ([run["rows_per_s"] for run in runs if (run["task"], run["share"]) == (task, 1)] for task in (one, other))
        rounds = [a / b for a, b in zip(*speeds, strict=True)]
        ratios[f"{one}/{other}"] = statistics.median(rounds)
        print(f"{WAYS[one]} / {WAYS[other]}: {statistics.median(rounds):.2f} (from {min(rounds):.2f} to {max(rounds):.2f})")
    return ratios


def main() -> None:
    """Generate, train, take turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work", type=Path, help="an empty or new folder, kept; a temporary one by default")
    parser.add_argument("--json", type=Path, help="write every measurement and the ratios here")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        found = run_task(arguments.work, arguments.task, arguments.share)
        (arguments.work / "result.json").write_text(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        generate(work, arguments.rows, arguments.columns)
        turns = [("train", share) for share in SHARES]
        turns += [("sail", 1), ("torch", 1), ("spark", 1), ("sail", 4), ("spark", 4)]
        runs = []
        for _ in range(arguments.repeats):
            for task, share in turns:
                runs.append(measure(work, task, share))
                print(f"{task:6} {runs[-1]['rows']:>10,} rows {runs[-1]['seconds']:>8.1f} s", flush=True)
        ratios = report(runs)
    if arguments.json:
        parameters = {"rows": arguments.rows, "columns": arguments.columns, "repeats": arguments.repeats}
        found = {"environment": environment(), "parameters": parameters, "ratios": ratios, "runs": runs}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
