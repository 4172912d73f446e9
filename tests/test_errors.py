"""Errors: they travel, they say what to do, they carry the exit code."""

import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from vae_model import errors
from vae_model.errors import OutputError, SchemaError, StorageError, VaeAnomalyError, listed, nearest

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
    error = kind("It is wrong.", "this", "that", "Do it.", True)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is kind
    assert (again.problem, again.expected, again.found, again.hint) == ("It is wrong.", "this", "that", "Do it.")
    assert again.transient
    assert str(again) == str(error)


@pytest.mark.slow
def test_errors_reach_the_parent_process_whole():
    """An error raised in a worker process arrives with its class and parts."""
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(SchemaError) as caught,
    ):
        pool.submit(raise_one, 0).result()
    assert caught.value.args == ("a", "b", "c", "d", False)


TREE = {
    "VaeAnomalyError": ("Exception", 1),
    "InputError": ("VaeAnomalyError", 2),
    "ConfigError": ("InputError", 2),
    "SourceError": ("InputError", 2),
    "SchemaError": ("InputError", 2),
    "TrainingError": ("InputError", 2),
    "ModelFileError": ("InputError", 2),
    "OutputError": ("InputError", 2),
    "StorageError": ("InputError", 2),
    "EngineError": ("InputError", 2),
    "JobError": ("VaeAnomalyError", 1),
    "OvertakenError": ("JobError", 1),
    "GateClosed": ("VaeAnomalyError", 3),
    "NothingToScore": ("VaeAnomalyError", 99),
}


def test_the_tree_and_its_exit_codes():
    """Every class, what it is a kind of, and the exit code that a scheduler sees."""
    assert {c.__name__: (c.__base__.__name__, c("x").exit_code) for c in CLASSES} == TREE


@pytest.mark.parametrize("kind", CLASSES)
def test_what_may_go_well_the_next_time_exits_with_4(kind):
    """Whatever its class, a transient error says "try again"."""
    assert kind("x", transient=True).exit_code == 4
    assert not kind("x").transient


def test_an_error_as_kind_another_keeps_what_was_found():
    """A finding about a store becomes one about the model that lies there: parts and transience stay."""
    told = StorageError("s3://b cannot be reached.", "", "no answer", "Wait.", True).as_kind(OutputError, "No model.")
    assert (type(told), told.args) == (OutputError, ("No model.", "", "no answer", "Wait.", True))


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_in_the_tree_of_the_module_docstring(kind):
    """The docstring draws every class."""
    assert f" {kind.__name__} " in errors.__doc__ or kind is VaeAnomalyError


def test_message_layout():
    """Problem first, then the labelled parts, each on an indented line."""
    assert str(VaeAnomalyError("It is wrong.", "this", "that", "Do it.")) == (
        "It is wrong.\n  expected: this\n  found: that\n  to do: Do it."
    )


def test_only_the_lines_of_the_layout_are_lines():
    """A name in any part of an error, or in one of several problems, begins no line."""
    name = "a\n12:00:00 ERROR\n  - b\x1b[2J"
    error = VaeAnomalyError(listed(f"{name}:", [name, name]), name, name, name)
    starts = [re.match(r" *(- |\w+(?: do)?: )?", line)[0] for line in str(error).splitlines()]
    assert starts == ["", "  - ", "  - ", "  expected: ", "  found: ", "  to do: "]
    assert "\x1b" not in str(error)
    assert (error.found, error.hint) == (name, name)


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
