"""Draw docs/performance.png from what ``throughput.py`` measured.

    python tests/benchmarks/plots.py docs/measured docs/performance.png

The folder holds ``throughput.json`` (the ways), ``rows.json`` and ``columns.json`` (``--growth``).
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import matplotlib.pyplot as plt

OURS, OTHERS = "#1f6f8b", "#b0b7bf"


def medians(runs: list[dict], *by: str) -> dict[tuple, list[float]]:
    """Median and extremes of the seconds, of the runs that agree in ``by``."""
    groups: dict[tuple, list[float]] = {}
    for run in runs:
        groups.setdefault(tuple(run[key] for key in by), []).append(run["seconds"])
    return {key: [statistics.median(s), min(s), max(s)] for key, s in groups.items()}


def main() -> None:
    """Three panels: seconds by way, seconds by rows, seconds by columns."""
    folder, picture = map(Path, sys.argv[1:])
    found = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("throughput", "rows", "columns")}
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 5), width_ratios=[1.4, 1, 1], layout="constrained")

    ways = medians(found["throughput"]["runs"], "way")
    names = [name for (name,) in ways if not name.startswith(("sampling", "scan"))]
    names.sort(key=lambda name: -ways[name,][0])
    seconds = [ways[name,] for name in names]
    left.barh(
        names,
        [s[0] for s in seconds],
        xerr=[[s[0] - s[1] for s in seconds], [s[2] - s[0] for s in seconds]],
        color=[OURS if name.startswith("ours") else OTHERS for name in names],
        ecolor="#444444",
    )
    rows = found["throughput"]["runs"][0]["rows"]
    left.set(title=f"{rows / 1e6:.0f} M rows x {found['throughput']['columns']} columns", xlabel="seconds")

    by_rows = medians(found["rows"]["runs"], "way", "rows")
    for way in sorted({way for way, _ in by_rows}):
        points = sorted((rows, *s) for (own, rows), s in by_rows.items() if own == way)
        middle.plot([p[0] / 1e6 for p in points], [p[1] / p[0] * 1e6 for p in points], "o-", label=way)
    middle.set(title="Growth by rows", xlabel="million rows", ylabel="microseconds a row", xscale="log", ylim=(0, None))
    middle.legend()

    by_columns = medians(found["columns"]["runs"], "way", "table", "rows")
    for way in sorted({way for way, _, _ in by_columns}):
        points = sorted((int(t.split()[0]), rows, *s) for (own, t, rows), s in by_columns.items() if own == way)
        right.plot([p[0] for p in points], [p[2] / p[0] / p[1] * 1e9 for p in points], "o-", label=way)
    right.set(title="Growth by columns", xlabel="columns", ylabel="nanoseconds a cell", xscale="log", ylim=(0, None))
    right.legend()
    for panel in (left, middle, right):
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
