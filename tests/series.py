"""Series of a small plant: readings that follow each other, with what is odd about some of them planted."""

import numpy as np
import pandas as pd

from vae_model.config.load import parse_config

LENGTH, GAP_AT = 24, 300
SETTINGS = {
    "name": "plant",
    "key": ["station", "at"],
    "features": {
        "exclude": ["note"],
        "sequence": {"by": ["station"], "order": "at", "length": LENGTH, "max_gap": "30m"},
    },
    "model": {"steps": 60, "hidden": [16], "codes": 16},
    "decision": {"false_alarm_rate": 0.004},
}


def plant(rows=700, stations=("A", "B", "C"), seed=0):
    """A reading every ten minutes, with a longer gap: flow swings, pressure follows, hum is noise, level wanders."""
    random = np.random.default_rng(seed)
    parts = []
    for number, station in enumerate(stations):
        t = np.arange(rows)
        flow = 10 + 3 * np.sin(2 * np.pi * (t + 17 * number) / 36) + random.normal(scale=0.3, size=rows)
        at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(10 * t + 600 * (t >= GAP_AT), unit="min")
        parts.append(pd.DataFrame({
            "station": station, "at": at, "flow": flow.round(4),
            "pressure": (50 - 2 * np.roll(flow, 1) + random.normal(scale=0.2, size=rows)).round(4),
            "hum": random.normal(loc=100, size=rows).round(4),
            "level": np.cumsum(random.normal(scale=0.1, size=rows)).round(4),
            "state": random.choice(["on", "idle"], rows, p=[0.9, 0.1]),
            "note": [f"{station}{i}" for i in t],
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def with_errors(frame):
    """The same readings, and errors in station B, each of them ordinary values by themselves: a sensor that is stuck
    for an hour and a half, a value of another hour, values that are too high for a while, and a hum that is a little
    louder for five hours.
    """
    changed = frame.copy()
    own = np.flatnonzero(changed.station == "B")
    stuck, jump, high, loud = own[400:409], own[500], own[560:572], own[640:670]
    changed.loc[stuck, "flow"] = changed.flow[own[400]]
    changed.loc[jump, "flow"] = 20 - changed.flow[jump]
    changed.loc[high, "pressure"] += 6
    changed.loc[loud, "hum"] += 2
    return changed, {"stuck": stuck, "jump": np.array([jump]), "high": high, "loud": loud}


def config(**changes):
    """The config of the plant, some of its sections changed."""
    return parse_config({**SETTINGS, **changes})
