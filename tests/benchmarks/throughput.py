"""Rows a second, memory and growth of scoring and sampling, beside the peers of ``ways.py``.

    python tests/benchmarks/throughput.py [--rows 4000000] [--columns 32] [--repeats 5] [--ways NAME …]
                                          [--growth rows|columns|text] [--work DIR] [--json FILE]

Parquet to Parquet, correlated float64 columns. Every measurement is a process of its own and the ways take turns, so
that a noisy neighbour meets all of them; ratios are taken round by round, and the table shows their medians. Seconds
are the job's (open, score, write; ours checks its input and reads its summary back too), without imports, the model's
loading and the session's start. Memory is resident set size, polled from outside: the process that was started, its
largest Python worker, its JVM. Sail's workers are threads: its process is engine, workers and client in one.

``--growth`` measures our job alone, on Sail, on tables of several shapes: ``rows`` (a 32nd, an eighth, half, all of
``--rows``), ``columns`` (10, 32, 100, 316, 1,000, the same number of cells), ``text`` (20 columns of text that only
pass through, beside the engine's copy of such a table, and the same without them).
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
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
FILES, ROW_GROUP, FACTORS, TEXTS = 16, 65_536, 6, 20
TRAIN_ROWS = 200_000
ONE = {"members": 1, "codes": 0, "hidden": [64, 32], "latent": 4}
WAYS = {
    "ours on Sail": "sail", "ours on Sail, one network": "sail", "ours on Sail, one network, bare": "sail",
    "ours on Sail, Delta": "sail", "copy on Sail": "sail", "sampling on Sail": "sail", "scan on Sail": "sail",
    "loop": None, "ours on Spark": "spark", "ours on Spark, one network": "spark", "ours on Spark, Delta": "spark",
    "pandas UDF": "spark",
    "predict_batch_udf": "spark", "identity UDF": "spark", "identity UDF, as rows": "spark", "copy on Spark": "spark",
}  # fmt: skip
"""The ways and their engines. Bare: neither p-values nor reasons."""
RATIOS = [
    ("ours on Sail, one network", "loop", 0.9),
    ("ours on Sail", "pandas UDF", 5),
    ("ours on Spark, one network", "predict_batch_udf", 1.4),
    ("ours on Spark", "identity UDF", 0.85),
    ("ours on Spark", "identity UDF, as rows", None),
    ("ours on Sail", "ours on Sail, one network", 0.6),
    ("ours on Spark", "ours on Spark, one network", 0.6),
    ("ours on Sail, one network", "ours on Sail, one network, bare", 0.9),
    ("sampling on Sail", "scan on Sail", 1 / 1.5),
    ("ours on Sail, Delta", "ours on Sail", None),
    ("ours on Spark, Delta", "ours on Spark", None),
]
"""Rows a second of the one against the other, and the goal, where there is one."""
POLL = 0.1
MB = 1e6


def generate(table: Path, rows: int, columns: int, texts: int = 0) -> None:
    """A table in ``FILES`` files, written chunk by chunk."""
    draw = np.random.default_rng(0)
    loadings, level = draw.normal(size=(FACTORS, columns)), draw.normal(scale=100, size=columns)
    names = [f"c{i:03}" for i in range(columns)]
    words = np.array([f"some text of an ordinary length, number {i}" for i in range(1000)])
    table.mkdir(parents=True)
    for file in range(FILES):
        writer = None
        first, last = rows * file // FILES, rows * (file + 1) // FILES
        for start in range(first, last, ROW_GROUP):
            count = min(ROW_GROUP, last - start)
            x = draw.normal(size=(count, FACTORS)) @ loadings + 0.5 * draw.normal(size=(count, columns))
            parts = {"id": np.arange(start, start + count), **dict(zip(names, (level + 7 * x).T.copy(), strict=True))}
            parts |= {f"t{i:02}": words[draw.integers(0, len(words), count)] for i in range(texts)}
            chunk = pa.table(parts)
            writer = writer or pq.ParquetWriter(table / f"part-{file:02}.parquet", chunk.schema)
            writer.write_table(chunk)
        if writer:
            writer.close()


def settings_of(table: Path, output: Path, engine: str | None = "sail", one: bool = False, format_: str = "parquet"):
    """The config of a job."""
    from vae_model import Config

    return Config.model_validate({
        "name": "throughput", "engine": engine, "key": ["id"],
        "features": {"exclude": [name for name in pq.read_schema(min(table.glob("*"))).names if name[0] == "t"]},
        "source": {"path": str(table)}, "train": {"rows": TRAIN_ROWS}, "model": ONE if one else {},
        "output": {"path": str(output), "format": format_},
    })  # fmt: skip


def models(work: Path, table: Path) -> None:
    """The default model and the one of a single network, trained on some rows of a table."""
    from vae_model import Detector

    sample = pq.ParquetFile(min(table.glob("*"))).read_row_group(0).slice(0, 20_000)
    for one in (False, True):
        Detector(settings_of(table, work / "out", one=one)).fit(sample).save(str(work / f"model-{int(one)}.vae"))


def run_way(work: Path, way: str, table: Path) -> None:
    """One measurement, in the process it has to itself."""
    import ways
    from pyspark.sql import functions as F

    from vae_model import Detector
    from vae_model.spark.engines.session import session
    from vae_model.spark.source import sampling

    engine, output, one, delta = WAYS[way], work / "out", "one network" in way, "Delta" in way
    settings = settings_of(table, output, engine or "sail", one, "delta" if delta else "parquet")
    detector = Detector.load(str(work / f"model-{int(one)}.vae")) if way.startswith("ours") else None
    found, features = {}, ways.features(table)
    if engine is None:
        started = time.perf_counter()
        ways.loop(table, output)
        seconds = time.perf_counter() - started
    else:
        with session(settings.engine, needs_delta=delta) as spark:
            started = time.perf_counter()
            if detector:
                found = ways.ours(spark, settings, detector, plain="bare" in way)
            elif way.startswith("copy"):
                ways.copy(spark, table, output)
            elif way.startswith("scan"):
                spark.read.parquet(str(table)).agg(*(F.sum(name) for name in features)).collect()
            elif way.startswith("sampling"):
                sampling.draw(spark.read.parquet(str(table)), ["id"], features, TRAIN_ROWS, 0.2, 0)
            else:
                peer = {"pandas UDF": ways.pandas_udf, "predict_batch_udf": ways.predict_batch,
                        "identity UDF": ways.identity, "identity UDF, as rows": ways.identity_as_rows}[way]  # fmt: skip
                peer(spark, table, output)
            seconds = time.perf_counter() - started
    (work / "result.json").write_text(json.dumps({"seconds": seconds, **found}))


def poll_memory(root: psutil.Process, peak: dict[str, float]) -> None:
    """Raise ``peak`` to what the process, its JVM and its largest Python worker hold now, in MB."""
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.Error):
            kind = "process" if process == root else "jvm" if process.name() == "java" else "worker"
            if kind != "worker" or "python" in process.name():
                peak[kind] = max(peak.get(kind, 0), process.memory_info().rss / MB)


def measure(work: Path, way: str, table: Path) -> dict:
    """Start a measurement, poll its memory until it ends, check what it wrote and remove it."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    variables |= {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}",
        "PYSPARK_PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
    }
    variables |= {"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(work)}
    log, load, peak = work / "log.txt", os.getloadavg()[0], {}
    command = [sys.executable, __file__, "--work", str(work), "--way", way, str(table)]
    with log.open("wb") as sink, subprocess.Popen(command, env=variables, cwd=work, stdout=sink, stderr=sink) as child:
        while child.poll() is None:
            with suppress(psutil.Error):
                poll_memory(psutil.Process(child.pid), peak)
            time.sleep(POLL)
    if child.returncode:
        raise SystemExit(f"{way} failed:\n{log.read_text(errors='replace')[-3000:]}")
    rows, written = (sum(pq.read_metadata(p).num_rows for p in f.rglob("*.parquet")) for f in (table, work / "out"))
    found = json.loads((work / "result.json").read_text()) | {f"peak_{kind}_mb": mb for kind, mb in peak.items()}
    if (work / "out").exists():
        if written != rows:
            raise SystemExit(f"{way} wrote {written} of {rows} rows")
        shutil.rmtree(work / "out")
    os.sync()  # what one measurement wrote must not be flushed during the next
    found |= {"way": way, "table": table.name, "rows": rows, "load_before": load}
    print(f"{way:32} {table.name:12} {rows:>11,} rows {found['seconds']:>7.1f} s", flush=True)
    return found | {"rows_per_s": rows / found["seconds"]}


def environment() -> dict:
    """The machine and the versions, without names or paths."""
    cpu = platform.machine()
    with suppress(OSError):
        cpu = Path("/proc/cpuinfo").read_text().partition("model name")[2].partition("\n")[0].strip("\t: ") or cpu
    java = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr.partition("\n")[0]
    packages = ("spark-vae-anomaly", "pyspark", "pysail", "torch", "numpy", "pandas", "pyarrow")
    memory = f"{psutil.virtual_memory().total / 1e9:.0f} GB"
    found = {"cpu": cpu, "cores": os.cpu_count(), "memory": memory, "system": platform.system()}
    return found | {"python": platform.python_version(), "java": java} | {name: version(name) for name in packages}


def median_of(runs: list[dict], key: str) -> str:
    """A figure's median over runs, or a dash."""
    values = [run[key] for run in runs if key in run]
    return f"{statistics.median(values):,.{1 if key == 'seconds' else 0}f}" if values else "–"


def report(runs: list[dict], tables: list[Path]) -> dict:
    """Print the medians of all ways, and the ratios, round by round, beside their goals. Return the ratios."""
    keys = ["rows", "seconds", "rows_per_s", "peak_process_mb", "peak_worker_mb", "peak_jvm_mb"]
    heads = ["rows", "s", "rows/s", "process MB", "worker MB", "JVM MB"]
    print(f"\n{'':46}" + "".join(f"{head:>12}" for head in heads))
    for table in tables:
        for way in WAYS:
            some = [run for run in runs if (run["way"], run["table"]) == (way, table.name)]
            if some:
                print(f"{way:34}{table.name:12}" + "".join(f"{median_of(some, key):>12}" for key in keys))
    print()
    ratios = {}
    for table in tables:
        for one, other, goal in RATIOS:
            speeds = [
                [r["rows_per_s"] for r in runs if (r["way"], r["table"]) == (w, table.name)] for w in (one, other)
            ]
            rounds = [a / b for a, b in zip(*speeds, strict=True)] if all(speeds) else []
            if rounds:
                middle = statistics.median(rounds)
                ratios[f"{one} / {other}, {table.name}"] = {"median": middle, "goal": goal, "rounds": rounds}
                spread = f"(from {min(rounds):.2f} to {max(rounds):.2f})"
                print(
                    f"{table.name}: {one} against {other}: {middle:.2f} {spread}"
                    + (f", goal {goal:.2f}" if goal else "")
                )
    return ratios


def shapes(growth: str | None, rows: int, columns: int) -> dict[str, tuple[int, int, int]]:
    """The tables to make: name -> rows, columns of numbers, columns of text."""
    if growth == "rows":
        return {f"{rows // share:,} rows": (rows // share, columns, 0) for share in (32, 8, 2, 1)}
    if growth == "columns":
        return {f"{wide} columns": (rows * columns // wide, wide, 0) for wide in (10, 32, 100, 316, 1000)}
    return {"table": (rows, columns, 0)} | ({"with text": (rows, columns, TEXTS)} if growth else {})


def main() -> None:
    """Generate, train, take turns, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS)
    parser.add_argument("--growth", choices=["rows", "columns", "text"])
    parser.add_argument("--work", type=Path, help="an empty or new folder, kept; a temporary one by default")
    parser.add_argument("--json", type=Path, help="write every measurement and the ratios here")
    parser.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        run_way(arguments.work, arguments.way[0], Path(arguments.way[1]))
        return
    default = {None: list(WAYS), "text": ["ours on Sail", "copy on Sail"]}.get(arguments.growth, ["ours on Sail"])
    with tempfile.TemporaryDirectory() as temporary:
        work, runs = (arguments.work or Path(temporary)).resolve(), []
        tables = []
        for name, shape in shapes(arguments.growth, arguments.rows, arguments.columns).items():
            generate(work / name / name, *shape)
            models(work / name, work / name / name)
            tables.append(work / name / name)
        for _ in range(arguments.repeats):
            for table in tables:
                runs += [measure(table.parent, way, table) for way in arguments.ways or default]
        ratios = report(runs, tables)
    if arguments.json:
        found = {"environment": environment(), "columns": arguments.columns, "ratios": ratios, "runs": runs}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
