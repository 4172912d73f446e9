"""The training loop: repeatable, it learns, it tells, it leaves torch as it was."""

import numpy as np
import pytest
import torch

from vae_model.config.sections import Model
from vae_model.errors import TrainingError
from vae_model.networks.inputs import TableShape
from vae_model.training.loop import REPORT_EVERY, sizes, train

SHAPE = TableShape(4, (3,))


def rows(count=400, seed=0):
    """Encoded rows with structure to learn: two pairs of equal columns, a category by sign, gaps."""
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=(2, count))
    x_NV = np.stack([a, a, b, -b], axis=1).astype(np.float32)
    x_NV[draw.random(x_NV.shape) < 0.05] = np.nan
    codes_NC = (a > 0).astype(np.int32)[:, None]
    codes_NC[::37] = -1
    return x_NV, codes_NC


def settings(**changes):
    """Small settings."""
    return Model(**{"steps": 300, "hidden": [16], "latent": 2, "codes": 4, **changes})


def named(result):
    """All arrays of a training run by member and name."""
    return {f"{m} {name}": array for m, (_, own) in enumerate(result.members) for name, array in own.items()}


@pytest.fixture(scope="module")
def trained():
    """One training run, and what its progress callback was told."""
    told = []
    return train(SHAPE, *rows(), settings(), 3, told.append), told


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(trained):
    """A second run is equal to the last bit, weights and summary."""
    again = train(SHAPE, *rows(), settings(), 3)
    assert again.summary == trained[0].summary
    first = named(trained[0])
    assert named(again).keys() == first.keys()
    for name, array in named(again).items():
        np.testing.assert_array_equal(array, first[name])


@pytest.mark.slow
def test_another_seed_gives_other_weights(trained):
    """The seed moves every layer's weights."""
    other = train(SHAPE, *rows(), settings(), 4)
    weights = [name for name in named(other) if name.endswith("weight")]
    assert len(weights) == 9
    assert not any(np.array_equal(named(other)[name], named(trained[0])[name]) for name in weights)


@pytest.mark.slow
def test_torchs_global_seed_has_no_say(trained):
    """A global seed set by the caller changes nothing."""
    torch.manual_seed(99)
    again = train(SHAPE, *rows(), settings(), 3)
    for name, array in named(again).items():
        np.testing.assert_array_equal(array, named(trained[0])[name])


def test_the_loss_falls(trained):
    """Structure is learnt: the loss ends well below that of the first report, and below independence."""
    result, told = trained
    losses = [progress.loss for progress in told]
    assert result.summary["loss"] == losses[-1]
    assert [loss for _, loss in result.summary["curve"]] == losses
    independent = 4 * 0.95 * 0.5 * (1 + np.log(2 * np.pi)) + 0.97 * np.log(2)
    assert losses[-1] < losses[0]
    assert losses[-1] < independent - 1


def test_progress_is_told(trained):
    """The callback hears of every report, the last step included."""
    result, told = trained
    assert [progress.step for progress in told] == list(range(REPORT_EVERY, 301, REPORT_EVERY))
    assert all(progress.steps == 300 and np.isfinite(progress.loss) for progress in told)
    assert told[-1].seconds_left == 0
    assert all(progress.seconds_left > 0 for progress in told[:-1])
    assert result.summary["steps"] == 300


def test_the_summary_describes_the_network(trained):
    """Kinds, sizes, steps and the loss are kept for the model file."""
    result = trained[0]
    assert result.summary["members"] == [
        {"kind": "vae", "hidden": [16], "latent": 2},
        {"kind": "vae", "hidden": [16], "latent": 2},
        {"kind": "codebook", "codes": 4},
    ]
    assert [kind for kind, _ in result.members] == ["vae", "vae", "codebook"]
    arrays = result.members[0][1]
    assert arrays["encoder.0.weight"].shape == (SHAPE.inputs, 16)
    assert arrays["encoder.1.weight"].shape == (16, 2)
    assert arrays["decoder.1.weight"].shape == (16, SHAPE.outputs)


def test_the_members_differ(trained):
    """Two VAEs of one size are not copies of each other."""
    first, second = (arrays for _, arrays in trained[0].members[:2])
    assert not any(np.array_equal(first[name], second[name]) for name in first if name.endswith("weight"))


def test_torch_is_left_as_it_was():
    """The global random state and the number of threads are those of before, also when training fails."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = torch.get_rng_state()
        train(SHAPE, *rows(60), settings(steps=5), 0)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
        with pytest.raises(TrainingError):
            train(SHAPE, *rows(60), settings(steps=20).model_copy(update={"learning_rate": 1e30}), 0)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
    finally:
        torch.set_num_threads(threads)


def test_numpys_global_state_is_left_as_it_was():
    """The global NumPy generator is not drawn from."""
    before = np.random.get_state()[1].copy()
    train(SHAPE, *rows(60), settings(steps=5), 0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_the_rows_are_not_changed():
    """Hiding cells and winsorising happen on copies."""
    x_NV, codes_NC = rows(80)
    kept = x_NV.copy(), codes_NC.copy()
    train(SHAPE, x_NV, codes_NC, settings(steps=5), 0)
    np.testing.assert_array_equal(x_NV, kept[0])
    np.testing.assert_array_equal(codes_NC, kept[1])


def test_diverging_training_is_refused():
    """A loss that is no longer finite is an error with the step and what to change."""
    wild = settings().model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError) as caught:
        train(SHAPE, *rows(), wild, 0)
    message = str(caught.value).splitlines()
    assert message[:2] == ["Training diverged.", "  expected: a finite loss"]
    assert message[2].startswith("  found: ")
    assert message[2].endswith(f" at step {REPORT_EVERY}")
    assert message[3] == "  to do: Lower model.learning_rate."


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 20])
def test_any_number_of_steps_trains(steps):
    """However few steps the config allows, training runs them."""
    assert train(SHAPE, *rows(60), settings(steps=steps), 0).summary["steps"] == steps


@pytest.mark.parametrize(
    ("columns", "width", "latents"), [(1, 64, [2, 4]), (8, 64, [4, 8]), (64, 64, [32, 64]), (2000, 128, [32, 64])]
)
def test_sizes_follow_the_number_of_columns(columns, width, latents):
    """Widths are a power of two from 64 to 128, then half; latents half the columns and all; two values are one bit."""
    for shape in (TableShape(columns, ()), TableShape(0, (2,) * columns)):
        assert sizes(shape, 400, Model())[:2] == ([width, width // 2], latents)


def test_a_category_counts_as_its_bits():
    """A category of 256 slots counts as eight columns."""
    assert sizes(TableShape(4, (256, 256)), 400, Model())[1] == [10, 20]


@pytest.mark.parametrize(
    ("rows", "steps"), [(20, 100), (499, 100), (500, 300), (24_000, 300), (80_000, 1000), (1_000_000, 2000)]
)
def test_steps_follow_the_number_of_rows(rows, steps):
    """Three hundred steps do for most tables, a hundred for small ones; large ones get one for eighty rows, at most
    two thousand.
    """
    assert sizes(TableShape(8, ()), rows, Model())[2] == steps


def test_sizes_that_are_set_are_kept():
    """Widths, latent dimensions, members and steps of the config win."""
    settings = Model(hidden=[7, 5, 3], latent=9, steps=12, members=3)
    assert sizes(TableShape(8, ()), 10**6, settings) == ([7, 5, 3], [9, 9, 9], 12)


@pytest.mark.parametrize("shape", [TableShape(3, ()), TableShape(0, (3, 2))], ids=["numbers", "categories"])
def test_tables_of_one_sort_train(shape):
    """Numbers without categories and categories without numbers are trained on."""
    draw = np.random.default_rng(0)
    x_NV = draw.normal(size=(60, shape.varying)).astype(np.float32)
    codes_NC = draw.integers(0, 2, (60, len(shape.slots))).astype(np.int32)
    result = train(shape, x_NV, codes_NC, settings(steps=20), 0)
    assert np.isfinite(result.summary["loss"])
