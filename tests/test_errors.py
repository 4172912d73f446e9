"""Errors: they travel, they say what to do, they carry the exit code."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from vae_model import errors
from vae_model.errors import InputError, SchemaError, VaeAnomalyError, nearest

CLASSES = sorted(
    (c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, VaeAnomalyError)),
    key=lambda c: c.__name__,
)


def raise_one(_):
    """Fail in another process."""
    raise SchemaError("a", "b", "c", "d")


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_survive_pickling_with_all_parts(kind):
    """Class, parts and text are the same after a pickle round trip."""
    error = kind("It is wrong.", "this", "that", "Do it.")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert (again.problem, again.expected, again.found, again.hint) == ("It is wrong.", "this", "that", "Do it.")
    assert str(again) == str(error)


def test_errors_reach_the_parent_process_whole():
    """An error raised in a worker process arrives with its class and parts."""
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(SchemaError) as caught,
    ):
        pool.submit(raise_one, 0).result()
    assert caught.value.args == ("a", "b", "c", "d")


@pytest.mark.parametrize("kind", CLASSES)
def test_exit_codes(kind):
    """Everything about the input exits with 2, the root with 1."""
    assert kind.exit_code == (2 if issubclass(kind, InputError) else 1)
    assert kind("x").exit_code == kind.exit_code


def test_every_error_but_the_root_is_an_input_error():
    """The tree has one root, one branch, and eight leaves on the branch."""
    leaves = {c.__name__ for c in CLASSES if InputError in c.__bases__}
    assert leaves == {
        "ConfigError", "SourceError", "SchemaError", "TrainingError", "ModelFileError", "OutputError",
        "StorageError", "EngineError",
    }  # fmt: skip


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_in_the_tree_of_the_module_docstring(kind):
    """The docstring draws every class."""
    assert f" {kind.__name__} " in errors.__doc__ or kind is VaeAnomalyError


def test_message_layout():
    """Problem first, then the labelled parts, each on an indented line."""
    assert str(VaeAnomalyError("It is wrong.", "this", "that", "Do it.")) == (
        "It is wrong.\n  expected: this\n  found: that\n  to do: Do it."
    )


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "It."),
        ({"found": "that"}, "It.\n  found: that"),
        ({"hint": "Do."}, "It.\n  to do: Do."),
        ({"expected": "this", "hint": "Do."}, "It.\n  expected: this\n  to do: Do."),
    ],
)
def test_empty_parts_leave_no_line(parts, text):
    """Only the parts that are given are printed."""
    assert str(VaeAnomalyError("It.", **parts)) == text


@pytest.mark.parametrize(
    ("name", "known", "answer"),
    [
        ("temperatur", ["pressure", "temperature"], "did you mean 'temperature'?"),
        ("TEMP", ["temp", "tempo"], "did you mean 'temp'?"),
        ("temp", ["TEMP"], "did you mean 'TEMP'?"),
        ("zzz", ["temp"], ""),
        ("temp", [], ""),
    ],
)
def test_nearest_name(name, known, answer):
    """The closest known name whatever its case, or nothing."""
    assert nearest(name, iter(known)) == answer
