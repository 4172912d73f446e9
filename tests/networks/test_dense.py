"""The NumPy forward pass against the torch network it was trained as."""

import numpy as np
import pytest
import torch

from vae_model.networks.dense import Forward
from vae_model.networks.layout import BLOCK, CLIP, Inputs, Layout
from vae_model.training.dense import LOG_VARIANCE_FLOOR, DenseVAEs
from vae_model.training.loop import as_input

LAYOUTS = [
    Layout(5, (4, 3)),
    Layout(3, ()),
    Layout(0, (3, 2)),
    Layout(1, ()),
]


def rows_of(layout, rows, seed=0):
    """Encoded rows with gaps, values beyond the clip, and every slot."""
    draw = np.random.default_rng(seed)
    x_NV = (draw.normal(size=(rows, layout.varying)) * 4).astype(np.float32)
    x_NV[draw.random(x_NV.shape) < 0.2] = np.nan
    codes_NC = draw.integers(-1, layout.slots or (), (rows, len(layout.slots))).astype(np.int32)
    return x_NV, codes_NC


def network_of(layout, seed=0):
    """Two VAEs with weights large enough to matter, their biases and variances not zero."""
    generator = torch.Generator().manual_seed(seed)
    network = DenseVAEs(layout, [16, 8], [3, 5], generator)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return network


def run(forward, x_NV, codes_NC):
    """A forward pass of encoded rows, padded to a block as the scorer does."""
    lacking = BLOCK - len(x_NV)
    padded = np.pad(x_NV, ((0, lacking), (0, 0))), np.pad(codes_NC, ((0, lacking), (0, 0)))
    mean_NV, log_probabilities = forward(Inputs.of(*padded))
    return mean_NV[: len(x_NV)], [log_p[: len(x_NV)] for log_p in log_probabilities]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("rows", [1, 7, BLOCK])
def test_numpy_is_torch(layout, rows):
    """Means and log-probabilities of the two forward passes agree to 1e-5, for each member, with missing values."""
    network = network_of(layout)
    x_NV, codes_NC = rows_of(layout, rows)
    with torch.no_grad():
        mu_MNZ, _ = network.encode(as_input(layout, *map(torch.from_numpy, (x_NV, codes_NC))))
        torch_mean_MNV, _, logits = network.decode(mu_MNZ)
    for member in (0, 1):
        forward = Forward.from_arrays(layout, network.arrays(member))
        mean_NV, log_probabilities = run(forward, x_NV, codes_NC)
        np.testing.assert_allclose(mean_NV, torch_mean_MNV[member].numpy(), rtol=1e-5, atol=1e-5)
        assert len(log_probabilities) == len(layout.slots)
        for ours, theirs in zip(log_probabilities, logits, strict=True):
            np.testing.assert_allclose(ours, torch.log_softmax(theirs[member], dim=1).numpy(), rtol=1e-5, atol=1e-5)


def test_each_member_has_its_own_latent_dimensions():
    """A narrower member's weights are cut to its latent dimensions, and the others have no say in its posterior."""
    layout = LAYOUTS[0]
    network = network_of(layout)
    assert [network.arrays(m)["decoder.0.weight"].shape[0] for m in (0, 1)] == [3, 5]
    mu_MNZ, log_variance_MNZ = network.encode(as_input(layout, *map(torch.from_numpy, rows_of(layout, 9))))
    assert (mu_MNZ[0, :, 3:] == 0).all()
    assert (log_variance_MNZ[0, :, 3:] == 0).all()


def test_variances_are_the_networks_with_its_floor():
    """The log-variances that are saved never fall under the floor of the decoder."""
    layout = Layout(3, ())
    network = network_of(layout)
    with torch.no_grad():
        network.log_variance_MNV[0, 0].copy_(torch.tensor([-50.0, 0.5, LOG_VARIANCE_FLOOR]))
    forward = Forward.from_arrays(layout, network.arrays(0))
    np.testing.assert_allclose(forward.log_variance_V, [LOG_VARIANCE_FLOOR, 0.5, LOG_VARIANCE_FLOOR], rtol=1e-6)


def test_arrays_are_a_copy():
    """Training on does not change weights that were taken before."""
    network = network_of(Layout(2, ()))
    arrays = network.arrays(0)
    before = {name: array.copy() for name, array in arrays.items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert all(np.array_equal(arrays[name], before[name]) for name in before)


@pytest.mark.parametrize("rows", [1, 2, 100, BLOCK - 1])
def test_a_row_does_not_depend_on_how_many_it_is_sent_with(rows):
    """The first rows of a full block, sent alone, come out the same to the last bit."""
    layout = LAYOUTS[0]
    forward = Forward.from_arrays(layout, network_of(layout).arrays(0))
    x_NV, codes_NC = rows_of(layout, BLOCK)
    whole_mean, whole_log = run(forward, x_NV, codes_NC)
    mean_NV, log_probabilities = run(forward, x_NV[:rows], codes_NC[:rows])
    np.testing.assert_array_equal(mean_NV, whole_mean[:rows])
    for ours, whole in zip(log_probabilities, whole_log, strict=True):
        np.testing.assert_array_equal(ours, whole[:rows])


def test_a_row_does_not_depend_on_its_place_in_the_block():
    """Rows in another order come out in that order, the same."""
    layout = LAYOUTS[0]
    forward = Forward.from_arrays(layout, network_of(layout).arrays(0))
    x_NV, codes_NC = rows_of(layout, 500)
    order = np.random.default_rng(1).permutation(500)
    np.testing.assert_allclose(
        run(forward, x_NV[order], codes_NC[order])[0], run(forward, x_NV, codes_NC)[0][order], rtol=1e-6, atol=1e-7
    )


def test_the_input_of_the_network():
    """Clipped numbers with 0 where missing, a flag for each missing one, one-hot categories, all 0 where missing."""
    layout = Layout(2, (3, 2))
    x_NV = np.array([[1.5, np.nan], [-99, 99]], dtype=np.float32)
    codes_NC = np.array([[2, -1], [0, 1]], dtype=np.int32)
    np.testing.assert_array_equal(
        as_input(layout, torch.from_numpy(x_NV), torch.from_numpy(codes_NC)).numpy(),
        np.array(
            [
                [1.5, 0, 0, 1, 0, 0, 1, 0, 0],
                [-CLIP, CLIP, 0, 0, 1, 0, 0, 0, 1],
            ],
            dtype=np.float32,
        ),
    )
    assert (layout.inputs, layout.outputs) == (9, 7)


def test_huge_activations_stay_finite():
    """Inputs and weights that saturate every unit give finite outputs and no warning."""
    layout = Layout(2, (3,))
    arrays = {name: array * 100 for name, array in network_of(layout).arrays(0).items()}
    x_NV = np.array([[1e9, -1e9]], dtype=np.float32)
    mean_NV, (log_p,) = run(Forward.from_arrays(layout, arrays), x_NV, np.array([[1]], dtype=np.int32))
    assert np.isfinite(mean_NV).all()
    assert np.isfinite(log_p).all()


def test_the_same_generator_gives_the_same_network():
    """Initial weights come from the generator that is handed over, and from nothing else."""
    first, second = (network_of(Layout(3, (2,)), seed=5).arrays(0) for _ in range(2))
    other = network_of(Layout(3, (2,)), seed=6).arrays(0)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["encoder.0.weight"], other["encoder.0.weight"])
