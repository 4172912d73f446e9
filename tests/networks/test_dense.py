"""The NumPy forward pass against the torch network it was trained as."""

import numpy as np
import pytest
import torch

from vae_model.networks import tiles
from vae_model.networks.dense import DenseVAE
from vae_model.networks.inputs import INPUT_CLIP, Inputs, TableShape
from vae_model.networks.tiles import BLOCK
from vae_model.training.dense import LOG_VARIANCE_FLOOR, DenseVAEs
from vae_model.training.loop import as_input

SHAPES = [
    TableShape(5, (4, 3)),
    TableShape(3, ()),
    TableShape(0, (3, 2)),
    TableShape(1, ()),
]


def rows_of(shape, rows, seed=0):
    """Encoded rows with gaps, values beyond the clip, and every slot."""
    draw = np.random.default_rng(seed)
    x_NV = (draw.normal(size=(rows, shape.varying)) * 4).astype(np.float32)
    x_NV[draw.random(x_NV.shape) < 0.2] = np.nan
    codes_NC = draw.integers(-1, shape.slots or (), (rows, len(shape.slots))).astype(np.int32)
    return x_NV, codes_NC


def network_of(shape, seed=0):
    """Two VAEs with weights large enough to matter, their biases and variances not zero."""
    generator = torch.Generator().manual_seed(seed)
    network = DenseVAEs(shape, [16, 8], [3, 5], generator)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return network


def run(vae, x_NV, codes_NC):
    """A forward pass of encoded rows: expected numbers, and log-probabilities of each category's slots."""
    expected_NO = tiles.to_rows(vae(Inputs.of(x_NV, codes_NC)), len(x_NV))
    return expected_NO[:, : vae.shape.varying], [expected_NO[:, own] for own in vae.shape.categories]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rows", [1, 7, BLOCK])
def test_numpy_is_torch(shape, rows):
    """Means and log-probabilities of the two forward passes agree to 1e-5, for each member, with missing values."""
    network = network_of(shape)
    x_NV, codes_NC = rows_of(shape, rows)
    with torch.no_grad():
        mu_MNZ, _ = network.encode(as_input(shape, *map(torch.from_numpy, (x_NV, codes_NC))))
        torch_mean_MNV, _, logits = network.decode(mu_MNZ)
    for member in (0, 1):
        vae = DenseVAE.from_arrays(shape, network.arrays(member))
        mean_NV, log_probabilities = run(vae, x_NV, codes_NC)
        np.testing.assert_allclose(mean_NV, torch_mean_MNV[member].numpy(), rtol=1e-5, atol=1e-5)
        assert len(log_probabilities) == len(shape.slots)
        for mine, theirs in zip(log_probabilities, logits, strict=True):
            np.testing.assert_allclose(mine, torch.log_softmax(theirs[member], dim=1).numpy(), rtol=1e-5, atol=1e-5)


def test_each_member_has_its_own_latent_dimensions():
    """A narrower member's weights are cut to its latent dimensions, and the others have no say in its posterior."""
    shape = SHAPES[0]
    network = network_of(shape)
    assert [network.arrays(m)["decoder.0.weight"].shape[0] for m in (0, 1)] == [3, 5]
    mu_MNZ, log_variance_MNZ = network.encode(as_input(shape, *map(torch.from_numpy, rows_of(shape, 9))))
    assert (mu_MNZ[0, :, 3:] == 0).all()
    assert (log_variance_MNZ[0, :, 3:] == 0).all()


def test_variances_are_the_networks_with_its_floor():
    """The log-variances that are saved never fall under the floor of the decoder."""
    shape = TableShape(3, ())
    network = network_of(shape)
    with torch.no_grad():
        network.log_variance_MNV[0, 0].copy_(torch.tensor([-50.0, 0.5, LOG_VARIANCE_FLOOR]))
    vae = DenseVAE.from_arrays(shape, network.arrays(0))
    np.testing.assert_allclose(vae.log_variance_V, [LOG_VARIANCE_FLOOR, 0.5, LOG_VARIANCE_FLOOR], rtol=1e-6)


def test_arrays_are_a_copy():
    """Training on does not change weights that were taken before."""
    network = network_of(TableShape(2, ()))
    arrays = network.arrays(0)
    before = {name: array.copy() for name, array in arrays.items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert all(np.array_equal(arrays[name], before[name]) for name in before)


@pytest.mark.parametrize("rows", [1, 2, 100, BLOCK - 1])
def test_a_row_does_not_depend_on_how_many_it_is_sent_with(rows):
    """The first rows of a full block, sent alone, come out the same to the last bit."""
    shape = SHAPES[0]
    vae = DenseVAE.from_arrays(shape, network_of(shape).arrays(0))
    x_NV, codes_NC = rows_of(shape, BLOCK)
    whole_mean, whole_log = run(vae, x_NV, codes_NC)
    mean_NV, log_probabilities = run(vae, x_NV[:rows], codes_NC[:rows])
    np.testing.assert_array_equal(mean_NV, whole_mean[:rows])
    for mine, whole in zip(log_probabilities, whole_log, strict=True):
        np.testing.assert_array_equal(mine, whole[:rows])


def test_a_row_does_not_depend_on_its_place_in_the_block():
    """Rows in another order come out in that order, the same to the last bit."""
    shape = SHAPES[0]
    vae = DenseVAE.from_arrays(shape, network_of(shape).arrays(0))
    x_NV, codes_NC = rows_of(shape, BLOCK)
    order = np.random.default_rng(1).permutation(BLOCK)
    np.testing.assert_array_equal(run(vae, x_NV[order], codes_NC[order])[0], run(vae, x_NV, codes_NC)[0][order])


def test_the_input_of_the_network():
    """Clipped numbers with 0 where missing, a flag for each missing one, one-hot categories, all 0 where missing."""
    shape = TableShape(2, (3, 2))
    x_NV = np.array([[1.5, np.nan], [-99, 99]], dtype=np.float32)
    codes_NC = np.array([[2, -1], [0, 1]], dtype=np.int32)
    np.testing.assert_array_equal(
        as_input(shape, torch.from_numpy(x_NV), torch.from_numpy(codes_NC)).numpy(),
        np.array(
            [
                [1.5, 0, 0, 1, 0, 0, 1, 0, 0],
                [-INPUT_CLIP, INPUT_CLIP, 0, 0, 1, 0, 0, 0, 1],
            ],
            dtype=np.float32,
        ),
    )
    assert (shape.inputs, shape.outputs) == (9, 7)


def test_huge_activations_stay_finite():
    """Inputs and weights that saturate every unit give finite outputs and no warning."""
    shape = TableShape(2, (3,))
    arrays = {name: array * 100 for name, array in network_of(shape).arrays(0).items()}
    x_NV = np.array([[1e9, -1e9]], dtype=np.float32)
    mean_NV, (log_p,) = run(DenseVAE.from_arrays(shape, arrays), x_NV, np.array([[1]], dtype=np.int32))
    assert np.isfinite(mean_NV).all()
    assert np.isfinite(log_p).all()


def test_the_same_generator_gives_the_same_network():
    """Initial weights come from the generator that is handed over, and from nothing else."""
    first, second = (network_of(TableShape(3, (2,)), seed=5).arrays(0) for _ in range(2))
    other = network_of(TableShape(3, (2,)), seed=6).arrays(0)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["encoder.0.weight"], other["encoder.0.weight"])
