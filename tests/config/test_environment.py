"""Settings by environment variables."""

import pytest

from vae_model import load_config
from vae_model.errors import ConfigError


@pytest.fixture
def file(tmp_path):
    """A small config file."""
    path = tmp_path / "job.yaml"
    path.write_text("source: {path: rows, where: a = 1}\ntrain: {rows: 300, seed: 4}\n")
    return path


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("VAE_ANOMALY__SOURCE__WHERE", "day = DATE '2026-01-01'", "source.where", "day = DATE '2026-01-01'"),
        ("VAE_ANOMALY__source__Where", "a = 'b'", "source.where", "a = 'b'"),
        ("VAE_ANOMALY__KEY", "[a, b]", "key", ["a", "b"]),
        ("VAE_ANOMALY__DECISION__FALSE_ALARM_RATE", "1e-2", "decision.false_alarm_rate", 0.01),
        ("VAE_ANOMALY__FEATURES__KINDS__Flow", "numeric", "features.kinds", {"Flow": "numeric"}),
        ("VAE_ANOMALY__SOURCE__SCHEMA__ZIP", "string", "source.types", {"ZIP": "string"}),
        ("VAE_ANOMALY__SOURCE__OPTIONS__nullValue", "N/A", "source.options", {"nullValue": "N/A"}),
    ],
)
def test_a_variable_sets_a_key(file, monkeypatch, name, value, key, expected):
    """Keys of sections are meant in any case, names of columns and options as they are written; the value is YAML."""
    monkeypatch.setenv(name, value)
    found = load_config(file)
    for part in key.split("."):
        found = getattr(found, part)
    assert found == expected


def test_the_order_is_file_environment_set(file, monkeypatch):
    """A variable goes over the file, --set over both, and neighbours stay."""
    monkeypatch.setenv("VAE_ANOMALY__TRAIN__SEED", "5")
    monkeypatch.setenv("VAE_ANOMALY__TRAIN__ROWS", "500")
    config = load_config(file, ["train.rows=700"])
    assert (config.train.seed, config.train.rows, config.source.where) == (5, 700, "a = 1")


def test_a_section_is_set_before_its_keys(file, monkeypatch):
    """In whatever order variables stand in the environment, the longer name has the last word."""
    monkeypatch.setenv("VAE_ANOMALY__TRAIN__SEED", "5")
    monkeypatch.setenv("VAE_ANOMALY__TRAIN", "{rows: 400}")
    assert load_config(file).train.model_dump(include={"seed", "rows"}) == {"seed": 5, "rows": 400}


def test_a_variable_may_have_parameters(file, monkeypatch):
    """What a variable sets is filled as the file is."""
    monkeypatch.setenv("VAE_ANOMALY__SOURCE__WHERE", "a = {{ n }}")
    assert load_config(file, parameters={"n": 3}).source.where == "a = 3"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"VAE_ANOMALY__SOURCE__WHER": "x"},
            ["VAE_ANOMALY__SOURCE__WHER has 1", "source.wher", "did you mean 'where'"],
        ),
        ({"VAE_ANOMALY__NAME__X": "x"}, ["VAE_ANOMALY__NAME__X has 1", "name:"]),
        ({"VAE_ANOMALY__": "x"}, ["'VAE_ANOMALY__' is not understood"]),
        ({"VAE_ANOMALY__SOURCE____WHERE": "x"}, ["not understood"]),
        ({"VAE_ANOMALY__KEY": "[a"}, ["The value of VAE_ANOMALY__KEY is not valid YAML"]),
        ({"VAE_ANOMALY__NAME": "a", "VAE_ANOMALY__name": "b"}, ["set one key, name"]),
        ({"VAE_ANOMALY__SOURCE__PASSWORD": "hunter2"}, ["source.password: unknown key"]),
    ],
)
def test_a_variable_that_fits_no_key_is_an_error_that_names_it(file, monkeypatch, variables, words):
    """A misspelt variable is not passed over, and its value is not shown."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "hunter2" not in str(caught.value)
