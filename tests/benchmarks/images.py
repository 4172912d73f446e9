"""Pictures: which are odd, and where, against simple methods; and what scoring costs beside decoding.

    python tests/benchmarks/images.py [--part digits textures speed job] [--half dev held]

- ``digits``: scikit-learn's digits (8 x 8). Of each digit 120 pictures train, all others judge: AUC, own digit against
  the nine others, mean over digits. ``warped``: the same, enlarged to 20 x 20 within 28 x 28 and turned, sheared, moved
  a little, in the manner of MNIST.
- ``textures``: ``examples/textures.py``; 200 ordinary pictures of a surface train, 100 others and 25 with each defect
  judge: AUC by picture, and AUC by pixel over all pictures that judge. ``mixed``: the three surfaces in one model.
- ``speed``: pictures of 28 x 28 as PNG files, decoded and scored, against decoding alone, in one process.
- ``job``: 60,000 of them in a Parquet table, scored by Sail into another one, against decoding alone by the same.

Two halves: all choices were made on ``dev`` (even digits; seed 0 of the textures). ``held`` is odd digits, other seeds,
and two surfaces (bricks, grain) and two defects (stain, dent) that are drawn here alone.

The peers: principal components that hold 95 % of the variance of the pixels, distance to the nearest training picture,
the public Detector on the pixels as one vector column, a convolutional autoencoder of three layers a side (torch), and
the Mahalanobis distances of 5 x 5 patches of the picture at a quarter of its size (at half, below 24 pixels), of which
the oddest 2 % count as they do in ours.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from vae_model import Config, Detector
from vae_model.features.pixels import decode
from vae_model.networks.edges import PictureShape
from vae_model.networks.pictures import PictureVAE
from vae_model.training.pictures import fit

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import textures


def bricks(draw, turned=0.0):
    """Courses of bricks, each shifted by half a brick."""
    height, (a, b) = 10 * draw.uniform(0.9, 1.1), draw.uniform(0, 1, 2)
    tilt, joint, shade = draw.uniform(-4, 4), draw.uniform(0.7, 1.1), draw.uniform(-0.06, 0.06, (40, 40))

    def surface(tilt):
        across, along = textures.coordinates(tilt)
        v = along / height + a + 15
        u = across / (2 * height) + b + 15 + 0.5 * (np.floor(v) % 2)
        gap = np.minimum((0.5 - np.abs(v % 1 - 0.5)) * height, (0.5 - np.abs(u % 1 - 0.5)) * 2 * height)
        return 0.75 - np.clip(gap - joint + 0.5, 0, 1) * (0.3 + shade[np.int64(v) % 40, np.int64(u) % 40])

    return surface(tilt), surface(tilt + turned)


def grain(draw, turned=0.0):
    """Wood: lines that wander."""
    pitch, tilt, (a, b) = 6 * draw.uniform(0.9, 1.1), draw.uniform(-4, 4), draw.uniform(0, 2 * np.pi, 2)

    def surface(tilt):
        across, along = textures.coordinates(tilt)
        bent = along + 1.5 * np.sin(across / 9 + a) + 3 * np.sin(across / 40 + b)
        return 0.5 + 0.14 * np.sin(2 * np.pi * bent / pitch + a) + 0.05 * np.sin(2 * np.pi * bent / (2.7 * pitch) + b)

    return surface(tilt), surface(tilt + turned)


def stain(draw, whole, turned):
    """A spot a little brighter or darker, soft at its edge, in which the surface goes on."""
    weight = textures._blurred(textures._disc(draw, 5, 9), 4)
    return whole + draw.choice([-1, 1]) * draw.uniform(0.1, 0.16) * weight, weight > 0.1


def dent(draw, whole, turned):
    """A spot in which the surface is drawn together."""
    weight = textures._blurred(textures._disc(draw, 6, 10), 3)
    y, x = np.mgrid[: textures.SIZE, : textures.SIZE].astype(float)
    cy, cx = (weight * y).sum() / weight.sum(), (weight * x).sum() / weight.sum()
    pull = 0.45 * weight
    rows, columns = (np.clip(at - pull * (at - c), 0, textures.SIZE - 1) for at, c in ((y, cy), (x, cx)))
    return whole[rows.round().astype(int), columns.round().astype(int)], weight > 0.1


def texture_sets(half):
    """Name, training pictures, pictures that judge, whether each is odd (0: no, else which defect), masks."""
    own = ["weave", "dots", "gradients"]
    seeds, surfaces, defects = ([0], own, list(textures.DEFECTS))
    if half == "held":
        textures.SURFACES.update(bricks=bricks, grain=grain)
        textures.DEFECTS.update(stain=stain, dent=dent)
        seeds, surfaces, defects = [101, 102], [*own, "bricks", "grain"], list(textures.DEFECTS)
    for seed in seeds:
        made = {}
        for surface in surfaces:
            train = textures.pictures(1000 + seed, surface, 200)[0]
            parts = [textures.pictures(2000 + seed, surface, 100)]
            parts += [textures.pictures(2000 + seed, surface, 25, defect) for defect in defects]
            test, masks = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
            kinds = np.repeat(range(len(parts)), [100, *[25] * len(defects)])
            made[surface] = train, test, kinds, masks
            yield surface, *made[surface]
        mixed = [np.concatenate([made[surface][i] for surface in own]) for i in range(4)]
        yield "mixed", mixed[0][::2], *mixed[1:]


def digit_sets(half, warped):
    """Name, training pictures, pictures that judge, whether each is another digit."""
    data = load_digits()
    pictures = (data.images * 15.9375).astype(np.uint8)
    draw = np.random.default_rng(0)
    if warped:
        pictures = np.stack([warp(picture, draw) for picture in pictures])
    for digit in range(10):
        own = draw.permutation(np.flatnonzero(data.target == digit))
        rest = np.setdiff1d(np.arange(len(pictures)), own[:120])
        if digit % 2 == (half == "held"):
            yield digit, pictures[own[:120]], pictures[rest], data.target[rest] != digit


def warp(picture, draw):
    """A digit at 20 x 20 in the middle of 28 x 28, turned (8 degrees), scaled (8 %), sheared and moved at random."""
    large = Image.new("L", (28, 28))
    large.paste(Image.fromarray(picture).resize((20, 20), Image.Resampling.BICUBIC), (4, 4))
    turn, scale, shear = np.deg2rad(8 * draw.normal()), 1 + 0.08 * draw.normal(), 0.12 * draw.normal()
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, shear], [0, 1]]
    shift = np.full(2, 13.5) - matrix @ np.full(2, 13.5) + draw.normal(size=2)
    affine = (*matrix[0], shift[0], *matrix[1], shift[1])
    return np.asarray(large.transform((28, 28), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR))


def flat(pictures):
    """(N, pixels) from 0 to 1."""
    return pictures.reshape(len(pictures), -1).astype(np.float32) / 255


def ours(train, test):
    """The score of a picture, and its heat map."""
    shape = PictureShape(*train.shape[1:], 1)
    model = PictureVAE.from_arrays(shape, fit(shape, train[..., None], 0).arrays)
    statistics, _ = model.statistics(test[..., None])
    return model.score(statistics), model.heat_map(test[..., None])


def components(train, test):
    """Squared residuals of principal components."""
    middle = flat(train).mean(axis=0)
    _, spread, axes = np.linalg.svd(flat(train) - middle, full_matrices=False)
    axes = axes[: 1 + np.searchsorted(np.cumsum(spread**2) / np.sum(spread**2), 0.95)]
    left = flat(test) - middle
    left -= left @ axes.T @ axes
    return (left**2).sum(axis=1), (left**2).reshape(test.shape)


def neighbours(train, test):
    """Distance to the nearest training picture, and its difference in each pixel."""
    distance, index = NearestNeighbors(n_neighbors=1).fit(flat(train)).kneighbors(flat(test))
    return distance[:, 0], ((flat(test) - flat(train)[index[:, 0]]) ** 2).reshape(test.shape)


def dense(train, test):
    """The public Detector on the pixels as a vector; it has no map of pixels."""
    table, other = (pa.table({"pixels": pa.array(list(flat(pictures)))}) for pictures in (train, test))
    return Detector(Config.model_validate({})).fit(table).score(other)["anomaly_score"].to_numpy(), None


def convolutional(train, test):
    """A plain convolutional autoencoder: squared errors."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    c = torch.nn
    encoder = c.Sequential(
        c.Conv2d(1, 16, 3, 2, 1), c.ReLU(), c.Conv2d(16, 32, 3, 2, 1), c.ReLU(), c.Conv2d(32, 16, 3, 2, 1)
    )
    decoder = c.Sequential(
        *(c.Upsample(scale_factor=2), c.Conv2d(16, 32, 3, 1, 1), c.ReLU()),
        *(c.Upsample(scale_factor=2), c.Conv2d(32, 16, 3, 1, 1), c.ReLU()),
        *(c.Upsample(scale_factor=2), c.Conv2d(16, 1, 3, 1, 1)),
    )
    pad = -train.shape[1] % 8
    x, y = (c.functional.pad(torch.from_numpy(p.astype(np.float32) / 255)[:, None], (0, pad, 0, pad), mode="replicate")
            for p in (train, test))  # fmt: skip
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 2e-3)
    for _ in range(400):
        batch = x[torch.randint(len(x), (32,))]
        loss = ((decoder(encoder(batch)) - batch) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        error = torch.cat([(decoder(encoder(part)) - part) ** 2 for part in y.split(256)])[:, 0]
    error = error[:, : test.shape[1], : test.shape[2]].numpy()
    return error.mean(axis=(1, 2)), error


def patches(train, test):
    """Mahalanobis distances of 5 x 5 patches of small pictures: the oddest 2 %, and all of them."""
    by = 4 if train.shape[1] >= 24 else 2

    def seen(pictures):
        n, h, w = pictures.shape
        small = (pictures.astype(np.float32) / 255).reshape(n, h // by, by, w // by, by).mean(axis=(2, 4))
        reach = min(5, h // by)
        return np.lib.stride_tricks.sliding_window_view(small, (reach, reach), axis=(1, 2))

    own, other = seen(train), seen(test)
    numbers = own.shape[3] ** 2
    own = own.reshape(-1, numbers)
    covariance = np.cov(own.T.astype(float))
    covariance = 0.99 * covariance + 0.01 * np.trace(covariance) / numbers * np.eye(numbers)
    white = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.float32)
    distance = np.square((other.reshape(*other.shape[:3], -1) - own.mean(axis=0)) @ white.T).mean(axis=-1)
    ordered = np.sort(distance.reshape(len(test), -1), axis=1)
    top = ordered[:, -max(1, -(-ordered.shape[1] // 50)) :].mean(axis=1)
    edge = own.shape[1] ** 0.5 // 2
    padded = np.pad(distance, ((0, 0), (int(edge),) * 2, (int(edge),) * 2), mode="edge")
    return top, np.stack([np.asarray(Image.fromarray(one).resize(test.shape[2:0:-1], 2)) for one in padded])


METHODS = {
    "ours": ours,
    "patches, Gaussian": patches,
    "components": components,
    "nearest neighbour": neighbours,
    "dense VAE": dense,
    "convolutional autoencoder": convolutional,
}


def quality(halves, methods, parts):
    """Every set, half and method; then a table."""
    found = defaultdict(dict)
    for half in halves:
        sets = [(f"digits, {half}", *one, None) for one in digit_sets(half, False)] if "digits" in parts else []
        sets += [(f"warped digits, {half}", *one, None) for one in digit_sets(half, True)] if "digits" in parts else []
        sets += [(f"{one[0]}, {half}", *one) for one in texture_sets(half)] if "textures" in parts else []
        for row, name, train, test, odd, masks in sets:
            for method in methods:
                if method == "dense VAE" and train.shape[1] > 28 and name != "weave":
                    continue  # thousands of columns take it minutes, and one surface tells
                started = time.perf_counter()
                score, heat = METHODS[method](train, test)
                found[row].setdefault(method, []).append(100 * roc_auc_score(odd > 0, score))
                if masks is not None and heat is not None:
                    by_pixel = 100 * roc_auc_score(masks.ravel(), heat.ravel())
                    found[f"{row}, by pixel"].setdefault(method, []).append(by_pixel)
                if masks is not None and method == "ours":
                    kinds = [100 * roc_auc_score(odd[own] > 0, score[own]) for kind in range(1, odd.max() + 1)
                             if (own := (odd == 0) | (odd == kind)).any()]  # fmt: skip
                    print("   by defect:", dict(zip(textures.DEFECTS, np.round(kinds, 1), strict=False)))
                print(f"{row} {name} {method}: {found[row][method][-1]:.2f}, {time.perf_counter() - started:.1f} s",
                      flush=True)  # fmt: skip
    print("\n| AUC | " + " | ".join(methods) + " |\n|---|" + "---|" * len(methods))
    for row, of_row in found.items():
        cells = (f"{np.mean(of_row[m]):.2f}" if m in of_row else "" for m in methods)
        print(f"| {row} | " + " | ".join(cells) + " |")


def speed():
    """Pictures as PNG files a second, decoded, and decoded and scored; alternating, the best of seven."""
    pictures = np.concatenate([test for _, _, test, _ in digit_sets("dev", True)][:2])[:3040]
    files = pa.array([textures.as_png(picture) for picture in pictures])
    shape = PictureShape(28, 28, 1)
    model = PictureVAE.from_arrays(shape, fit(shape, pictures[:500, ..., None], 0).arrays)
    alone, whole, plain = [], [], []
    for _ in range(7):
        started = time.perf_counter()
        for one in files:
            np.asarray(Image.open(io.BytesIO(one.as_py())))
        plain.append(time.perf_counter() - started)
        started = time.perf_counter()
        found = decode(files, 28, 28, 1)
        alone.append(time.perf_counter() - started)
        started = time.perf_counter()
        model.statistics(decode(files, 28, 28, 1).pixels_NHWC)
        whole.append(time.perf_counter() - started)
    each = [1e6 * min(times) / len(found.pixels_NHWC) for times in (plain, alone, whole)]
    print(
        f"\nA picture of 28 x 28: {each[0]:.1f} us to decode by Image.open, {each[1]:.1f} by decode, {each[2]:.1f} "
        f"decoded and scored: {each[1] / each[2]:.0%} of decoding alone ({each[0] / each[2]:.0%} of Image.open)"
    )
    shape = PictureShape(64, 64, 3)
    pixels = np.random.default_rng(0).integers(0, 256, (608, 64, 64, 3)).astype(np.uint8)
    model = PictureVAE.from_arrays(shape, fit(shape, pixels[:100], 0).arrays)
    started = time.perf_counter()
    model.statistics(pixels)
    took = 1e6 * (time.perf_counter() - started) / len(pixels)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"A picture of 64 x 64 x 3: {took:.0f} us scored; peak of this process, torch included: {peak} MB")


def job():
    """Pictures a second from table to table on Sail, scored, and decoded alone: alternating, the best of five."""
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
    from pysail.spark import SparkConnectServer
    from pyspark.sql import functions as F
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import DoubleType

    from vae_model.spark import score

    pictures = np.concatenate([test for _, _, test, _ in digit_sets("dev", True)])
    files = [textures.as_png(picture) for picture in pictures]
    rows = 60_000
    table = pa.table({"id": range(rows), "photo": pa.array([files[i % len(files)] for i in range(rows)], pa.binary())})
    settings = {"name": "digits", "key": ["id"],
                "features": {"kinds": {"photo": "image"}, "image": {"height": 28, "width": 28}}}  # fmt: skip
    detector = Detector(Config.model_validate(settings)).fit(table.slice(0, 1000))

    @F.arrow_udf(DoubleType())
    def decoded(photo: pa.Array) -> pa.Array:
        return pa.array(decode(photo, 28, 28, 1).pixels_NHWC.mean(axis=(1, 2, 3)))

    server = SparkConnectServer()
    server.start()
    host, port = server.listening_address
    spark = SparkSession.builder.remote(f"sc://{host}:{port}").create()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "in").mkdir()
        for part in range(8):
            pq.write_table(table.slice(part * rows // 8, rows // 8), f"{folder}/in/{part}.parquet")
        took = defaultdict(list)
        for _ in range(6):  # the first of each is left out
            for name in ("decoded", "scored"):
                frame = spark.read.parquet(f"{folder}/in")
                frame = frame.withColumn("m", decoded("photo")) if name == "decoded" else score(frame, detector)
                started = time.perf_counter()
                frame.write.mode("overwrite").parquet(f"{folder}/{name}")
                took[name].append(time.perf_counter() - started)
    spark.stop()
    server.stop()
    alone, whole = (rows / min(took[name][1:]) for name in ("decoded", "scored"))
    print(f"\nOn Sail, 28 x 28 as PNG: {whole:,.0f} scored a second, {alone:,.0f} decoded: {whole / alone:.0%}")


def main() -> None:
    """The parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", default=["digits", "textures", "speed", "job"])
    parser.add_argument("--half", nargs="+", default=["dev", "held"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    if {"digits", "textures"} & set(arguments.part):
        quality(arguments.half, arguments.methods, arguments.part)
    if "speed" in arguments.part:
        speed()
    if "job" in arguments.part:
        job()


if __name__ == "__main__":
    main()
