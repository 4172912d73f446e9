"""The verdict in sentences."""

import pytest

from vae_model.evaluation.baselines import MAHALANOBIS, Z
from vae_model.evaluation.metrics import Interval
from vae_model.evaluation.verdict import sentences


def found(ours, mahalanobis, z, knn=0.1, margin=0.03):
    """Figures, and by how much the model is ahead, give or take."""
    peers = {MAHALANOBIS: mahalanobis, Z: z, "kNN": knn}
    ahead = {name: Interval(ours - one, ours - one - margin, ours - one + margin) for name, one in peers.items()}
    return {"this model": (ours, None), **{name: (peers[name], ahead[name]) for name in peers}}


@pytest.mark.parametrize(
    ("figures", "rate", "words"),
    [
        (
            (0.82, 0.74, 0.31), 0.001,
            "On this table 82 % of planted errors are found at 1 in 1,000; Mahalanobis finds 74 %, a z-score by column "
            "31 %.",
        ),
        (
            (0.82, 0.80, 0.31), 0.001,
            "On this table 82 % of planted errors are found at 1 in 1,000; Mahalanobis finds 80 %, a z-score by column "
            "31 %. Mahalanobis is as good, within chance: the simpler one will do.",
        ),
        (
            (0.80, 0.74, 0.81), 0.01,
            "On this table 80 % of planted errors are found at 1 in 100; a z-score by column finds 81 %. A z-score by "
            "column is as good, within chance: the simpler one will do.",
        ),
        (
            (0.5, 0.74, 0.51, 0.6), None,
            "By the label this model has an AUC-PR of 0.500; Mahalanobis has 0.740, a z-score by column 0.510. "
            "Mahalanobis and kNN are better on this table. A z-score by column is as good, within chance: the simpler "
            "one will do.",
        ),
        (
            (0.5, 0.3, 0.1, 0.49), None,
            "By the label this model has an AUC-PR of 0.500; kNN has 0.490, a z-score by column 0.100. kNN is as good, "
            "within chance: the simpler one will do.",
        ),
    ],
)  # fmt: skip
def test_a_verdict(figures, rate, words):
    """The model's figure, the best of the others, the simplest; and which of them are as good, or better."""
    assert sentences(found(*figures), rate) == words
