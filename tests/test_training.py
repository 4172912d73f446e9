"""The training loop: repeatable, it learns, it tells, it leaves torch as it was."""

import numpy as np
import pytest
import torch

from vae_model import training
from vae_model.config import Model
from vae_model.errors import TrainingError
from vae_model.networks.forward import Layout
from vae_model.training import EVALUATE_EVERY, sizes, train

LAYOUT = Layout(4, (3,))


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
    return Model(**{"steps": 300, "hidden": [16], "latent": 2, **changes})


@pytest.fixture(scope="module")
def trained():
    """One training run, and what its progress callback was told."""
    told = []
    return train(LAYOUT, *rows(), settings(), 3, told.append), told


def test_the_same_seed_gives_the_same_weights(trained):
    """A second run is equal to the last bit, weights and summary."""
    again = train(LAYOUT, *rows(), settings(), 3)
    assert again.summary == trained[0].summary
    assert again.arrays.keys() == trained[0].arrays.keys()
    for name, array in again.arrays.items():
        np.testing.assert_array_equal(array, trained[0].arrays[name])


def test_another_seed_gives_other_weights(trained):
    """The seed moves every layer's weights."""
    other = train(LAYOUT, *rows(), settings(), 4)
    weights = [name for name in other.arrays if name.endswith("weight")]
    assert len(weights) == 4
    assert not any(np.array_equal(other.arrays[name], trained[0].arrays[name]) for name in weights)


def test_torchs_global_seed_has_no_say(trained):
    """A global seed set by the caller changes nothing."""
    torch.manual_seed(99)
    again = train(LAYOUT, *rows(), settings(), 3)
    np.testing.assert_array_equal(again.arrays["decoder.1.weight"], trained[0].arrays["decoder.1.weight"])


def test_the_loss_falls(trained):
    """Structure is learnt: the held-out loss ends well below that of the first look, and below independence."""
    result, told = trained
    losses = [progress.validation_loss for progress in told]
    assert result.summary["validation_loss"] == min(losses)
    independent = 4 * 0.95 * 0.5 * (1 + np.log(2 * np.pi)) + 0.97 * np.log(2)
    assert losses[-1] < losses[0]
    assert losses[-1] < independent - 1


def test_progress_is_told(trained):
    """The callback hears of every look at the validation rows, the last step included."""
    result, told = trained
    assert [progress.step for progress in told] == list(range(EVALUATE_EVERY, 301, EVALUATE_EVERY))
    assert all(progress.steps == 300 and np.isfinite(progress.loss) for progress in told)
    assert told[-1].seconds_left == 0
    assert all(progress.seconds_left > 0 for progress in told[:-1])
    assert result.summary["steps"] == 300


def test_the_summary_describes_the_network(trained):
    """Sizes, steps and the best loss are kept for the model file."""
    summary = trained[0].summary
    assert (summary["hidden"], summary["latent"]) == ([16], 2)
    assert summary["best_step"] in (100, 200, 300)
    assert trained[0].arrays["encoder.0.weight"].shape == (LAYOUT.inputs, 16)
    assert trained[0].arrays["encoder.1.weight"].shape == (16, 2)
    assert trained[0].arrays["decoder.1.weight"].shape == (16, LAYOUT.outputs)


def test_torch_is_left_as_it_was():
    """The global random state and the number of threads are those of before, also when training fails."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = torch.get_rng_state()
        train(LAYOUT, *rows(60), settings(steps=5), 0)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
        with pytest.raises(TrainingError):
            train(LAYOUT, *rows(60), settings(steps=20).model_copy(update={"learning_rate": 1e30}), 0)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), before)
    finally:
        torch.set_num_threads(threads)


def test_numpys_global_state_is_left_as_it_was():
    """The global NumPy generator is not drawn from."""
    before = np.random.get_state()[1].copy()
    train(LAYOUT, *rows(60), settings(steps=5), 0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_the_rows_are_not_changed():
    """Hiding cells and winsorising happen on copies."""
    x_NV, codes_NC = rows(80)
    kept = x_NV.copy(), codes_NC.copy()
    train(LAYOUT, x_NV, codes_NC, settings(steps=5), 0)
    np.testing.assert_array_equal(x_NV, kept[0])
    np.testing.assert_array_equal(codes_NC, kept[1])


def test_diverging_training_is_refused():
    """A loss that is no longer finite is an error with the step and what to change."""
    wild = settings().model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError) as caught:
        train(LAYOUT, *rows(), wild, 0)
    message = str(caught.value).splitlines()
    assert message[:2] == ["Training diverged.", "  expected: a finite loss"]
    assert message[2].startswith("  found: ")
    assert message[2].endswith(" at step 100")
    assert message[3] == "  to do: Lower model.learning_rate."


def test_training_stops_without_progress(monkeypatch):
    """After the warm-up, training ends once the validation loss has not improved for ``patience`` looks."""
    monkeypatch.setattr(training, "EVALUATE_EVERY", 2)
    told = []
    stuck = settings(steps=200, warm_up=0, patience=3).model_copy(update={"learning_rate": 1e-12})
    x_NV, codes_NC = rows(100)
    result = train(LAYOUT, x_NV, codes_NC, stuck, 0, told.append)
    losses = [progress.validation_loss for progress in told]
    assert result.summary["steps"] == told[-1].step < 200
    assert losses.index(min(losses)) == len(losses) - 1 - 3
    assert result.summary["best_step"] == told[-4].step


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 20])
def test_any_number_of_steps_trains(steps):
    """However few steps the config allows, training runs them."""
    assert train(LAYOUT, *rows(60), settings(steps=steps), 0).summary["steps"] == steps


@pytest.mark.parametrize(
    ("columns", "width", "latent"), [(1, 64, 2), (8, 64, 4), (64, 64, 32), (65, 128, 32), (300, 256, 32)]
)
def test_sizes_follow_the_number_of_columns(columns, width, latent):
    """Widths are a power of two from 64 to 256, the latent half the columns from 2 to 32; two values are one bit."""
    assert sizes(Layout(columns, ()), 400, Model())[:2] == ([width, width], latent)
    assert sizes(Layout(0, (2,) * columns), 400, Model())[:2] == ([width, width], latent)


def test_a_category_counts_as_its_bits():
    """A category of 256 slots counts as eight columns."""
    assert sizes(Layout(4, (256, 256)), 400, Model())[:2] == ([64, 64], 10)


@pytest.mark.parametrize(("rows", "steps"), [(20, 1000), (20_000, 1000), (60_000, 3000), (1_000_000, 5000)])
def test_steps_follow_the_number_of_rows(rows, steps):
    """A thousand steps do for small tables; large ones get a twentieth of their rows, five thousand at most."""
    assert sizes(Layout(8, ()), rows, Model())[2] == steps


def test_sizes_that_are_set_are_kept():
    """Widths, latent dimensions and steps of the config win."""
    assert sizes(Layout(8, ()), 10**6, Model(hidden=[7, 5, 3], latent=9, steps=12)) == ([7, 5, 3], 9, 12)


@pytest.mark.parametrize("layout", [Layout(3, ()), Layout(0, (3, 2))], ids=["numbers", "categories"])
def test_tables_of_one_sort_train(layout):
    """Numbers without categories and categories without numbers are trained on."""
    draw = np.random.default_rng(0)
    x_NV = draw.normal(size=(60, layout.varying)).astype(np.float32)
    codes_NC = draw.integers(0, 2, (60, len(layout.slots))).astype(np.int32)
    result = train(layout, x_NV, codes_NC, settings(steps=20), 0)
    assert np.isfinite(result.summary["validation_loss"])
