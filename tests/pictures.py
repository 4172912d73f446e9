"""A small table of parts on a belt, each with a photo: what is odd about some of them planted."""

import io

import numpy as np
import pandas as pd
from PIL import Image

from vae_model.config.load import parse_config

SIDE = 32
SETTINGS = {
    "name": "parts",
    "key": ["id"],
    "features": {"kinds": {"photo": "image"}, "image": {"height": SIDE, "width": SIDE}, "exclude": ["note"]},
    "model": {"steps": 60, "hidden": [8], "codes": 8, "members": 1},
    "decision": {"false_alarm_rate": 0.01},
}


def pixels(rows, seed=0):
    """(N, H, W) stripes of one width, each picture with its own phase and light."""
    random = np.random.default_rng(seed)
    phase, light = random.uniform(0, 2 * np.pi, (rows, 1, 1)), random.uniform(0.4, 0.6, (rows, 1, 1))
    stripes = 0.3 * np.cos(2 * np.pi * np.arange(SIDE) / 6 + phase)
    noisy = light + stripes + random.normal(scale=0.02, size=(rows, SIDE, SIDE))
    return np.rint(255 * np.clip(noisy, 0, 1)).astype(np.uint8)


def with_hole(pixels_HW, top=19, left=3):
    """The same picture, with a black square of 8 x 8."""
    changed = pixels_HW.copy()
    changed[top : top + 8, left : left + 8] = 0
    return changed


def png(pixels_HW):
    """A picture as a file."""
    out = io.BytesIO()
    Image.fromarray(pixels_HW).save(out, "PNG")
    return out.getvalue()


def parts(rows=600, seed=0):
    """Parts as pandas: a weight that follows the width, and a photo of each."""
    random = np.random.default_rng(seed + 1)
    width = random.normal(loc=20, size=rows)
    return pd.DataFrame({
        "id": np.arange(rows), "width": width.round(3),
        "weight": (3 * width + random.normal(scale=0.2, size=rows)).round(3),
        "photo": [png(one) for one in pixels(rows, seed)],
        "note": [f"part {i}" for i in range(rows)],
    })  # fmt: skip


HOLES, LIGHT, EMPTY, BROKEN = [10, 50], 30, 70, 71


def with_errors(frame):
    """The same parts: two with a hole, one far too light for its width, one without a photo, one with a broken file."""
    changed = frame.copy()
    for row in HOLES:
        own = np.asarray(Image.open(io.BytesIO(frame.photo[row])))
        changed.at[row, "photo"] = png(with_hole(own))
    changed.loc[LIGHT, "weight"] -= 8
    changed.at[EMPTY, "photo"] = None
    changed.at[BROKEN, "photo"] = frame.photo[BROKEN][:40]
    return changed


def config(**changes):
    """The config of the parts, some of its sections changed."""
    return parse_config({**SETTINGS, **changes})


def photos_alone(**changes):
    """The same, that looks at nothing but the photos."""
    return config(features={**SETTINGS["features"], "exclude": ["note", "width", "weight"]}, **changes)
