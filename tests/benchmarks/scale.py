"""How long a very large table would take on a cluster, from what a core was measured to do.

    python tests/benchmarks/scale.py docs/measured/hundred.json [--rows 10000000000] [--nodes 20] [--cores 8] …

What ``throughput.py`` measured on classic Spark gives the seconds of one core for a value: the job's, less ``--fixed``
(what is start-up and does not grow with the rows), times the cores, by rows and columns. The tasks of the large table,
one for each split of its files, are then dealt out to the cluster's cores as Spark does, each to the core that is free
first, with durations that scatter; a lost node loses what it was doing, which is done again elsewhere, and does not
come back. What is not simulated: storage that cannot keep up, and the driver.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import statistics
from pathlib import Path

import numpy as np

BYTES = 8
"""Of a value in a Parquet file whose values all differ."""


def core_seconds(file: Path, fixed: float) -> float:
    """Of one value, reading, scoring and writing, from runs of ``ours on Spark``."""
    found = json.loads(file.read_text())
    runs = [run for run in found["runs"] if run["way"] == "ours on Spark"]
    seconds = statistics.median(run["seconds"] for run in runs) - fixed
    return seconds * found["environment"]["cores"] / (runs[0]["rows"] * found["columns"])


def simulate(tasks: int, seconds: float, scatter: float, nodes: int, cores: int, lost: int, seed: int) -> float:
    """Seconds until the last task is done; ``lost`` nodes go at evenly spread moments."""
    draw = np.random.default_rng(seed)
    durations = list(seconds * draw.lognormal(-(scatter**2) / 2, scatter, tasks))
    expected = tasks * seconds / (nodes * cores)
    ends = {node: expected * (node + 1) / (lost + 1) for node in range(lost)}  # when each of these nodes is lost
    free = [(0.0, node, core) for node in range(nodes) for core in range(cores)]
    heapq.heapify(free)
    last = 0.0
    while durations:
        now, node, core = heapq.heappop(free)
        if now >= ends.get(node, math.inf):
            continue
        duration = durations.pop()
        if now + duration > ends.get(node, math.inf):
            durations.append(duration)  # lost half-way: again, elsewhere
            continue
        last = max(last, now + duration)
        heapq.heappush(free, (now + duration, node, core))
    return last


def main() -> None:
    """Print what the table would take, with and without losses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--cores", type=int, default=8)
    parser.add_argument("--split", type=int, default=128 << 20, help="bytes of a task's part of the table")
    parser.add_argument("--scatter", type=float, default=0.2, help="of the tasks' durations, sigma of the logarithm")
    parser.add_argument("--fixed", type=float, default=5, help="seconds of the measured job that do not grow")
    given = parser.parse_args()
    cell = core_seconds(given.measured, given.fixed)
    size = given.rows * given.columns * BYTES
    tasks = math.ceil(size / given.split)
    seconds = cell * given.rows * given.columns / tasks
    print(
        f"a value: {cell * 1e9:.0f} ns of a core; the table: {size / 1e12:.1f} TB, {tasks:,} tasks of {seconds:.0f} s"
    )
    for lost in (0, 1, given.nodes // 4):
        runs = [simulate(tasks, seconds, given.scatter, given.nodes, given.cores, lost, seed) for seed in range(3)]
        print(f"{given.nodes} nodes x {given.cores} cores, {lost} lost: {statistics.median(runs) / 60:.0f} minutes")


if __name__ == "__main__":
    main()
