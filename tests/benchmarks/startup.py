"""What ``vae-anomaly score`` of 1,000 rows on the embedded engine takes, from the process's start to its end.

    python tests/benchmarks/startup.py [--repeats 5] [--json FILE]

The whole command is timed; then, apart, what its imports take, by package (``-X importtime``).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from throughput import environment, generate, models, settings_of

ROWS, COLUMNS = 1000, 32
COMMAND = ["-c", "from vae_model.cli import main; main()", "score", "--config"]


def run(config: Path, *flags: str) -> tuple[float, float, str]:
    """Seconds by the clock and of the processors, and what the command said."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, *flags, *COMMAND, str(config)], capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stderr


def by_package(text: str) -> dict[str, float]:
    """Seconds spent in the modules of each package themselves, the most first."""
    spent: Counter[str] = Counter()
    for own, name in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)", text, re.MULTILINE):
        spent[name.partition(".")[0]] += int(own) / 1e6
    return dict(spent.most_common(12)) | {"all": sum(spent.values())}


def main() -> None:
    """Generate, train, time, take the imports apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        generate(work / "table", 20_000, COLUMNS)
        models(work, work / "table")
        generate(work / "rows", ROWS, COLUMNS)
        settings = settings_of(work / "rows", work / "out").model_dump(mode="json", exclude_unset=True)
        settings["model"] |= {"path": str(work / "model-0.vae")}
        (work / "job.yaml").write_text(json.dumps(settings))  # which is YAML too
        runs = [run(work / "job.yaml")[:2] for _ in range(arguments.repeats)]
        imports = by_package(run(work / "job.yaml", "-X", "importtime")[2])
    clock, processors = (statistics.median(column) for column in zip(*runs, strict=True))
    print(f"score of {ROWS:,} rows: {clock:.2f} s by the clock, {processors:.2f} s of the processors (medians)")
    for name, seconds in imports.items():
        print(f"  imports, {name:12} {seconds:.2f} s")
    if arguments.json:
        found = {"environment": environment(), "runs": runs, "imports": imports}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
