"""The config file: YAML in, frozen values out, every problem named at once."""

import re
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from vae_model import Config, load_config
from vae_model.config.load import parse_config
from vae_model.config.section import Section
from vae_model.config.sections import Decision
from vae_model.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    """Write a config file and return its path."""

    def write(text):
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def refused(write):
    """The message with which a config file is refused, the file's own path cut out."""

    def refused(text, overrides=()):
        path = write(text)
        with pytest.raises(ConfigError) as caught:
            load_config(path, overrides)
        return str(caught.value).replace(str(path), "FILE")

    return refused


def sections(section=Config):
    """Every section reachable from the config, the config included."""
    found = {section}
    for field in section.model_fields.values():
        options = typing.get_args(field.annotation) or (field.annotation,)
        for option in options:
            if isinstance(option, type) and issubclass(option, BaseModel):
                found |= sections(option)
    return found


# --- YAML in


def test_a_full_file_becomes_values(write):
    """Every section of a YAML file arrives as typed values."""
    config = load_config(
        write(
            """
            name: weather
            engine: sail
            source: {path: data/weather, format: csv, options: {header: "true"}, where: "origin = 'JFK'"}
            key: [origin, time_hour]
            features: {exclude: [year], kinds: {visib: categorical}}
            train: {normal: "wind_speed < 100", rows: 5000, seed: 3, calibration: 0.25, accept_if: {max_score_loss: 1}}
            model: {path: models/weather.vae, hidden: [32, 16], latent: 4, kl_weight: 1}
            decision: {false_alarm_rate: 1e-3, reasons: 2}
            output: {table: main.scored, mode: append, prefix: vae_}
            """
        )
    )
    assert config.name == "weather"
    assert config.engine == "sail"
    assert (config.source.path, config.source.table, config.source.format) == ("data/weather", None, "csv")
    assert (config.source.options, config.source.where) == ({"header": "true"}, "origin = 'JFK'")
    assert config.key == ["origin", "time_hour"]
    assert (config.features.exclude, config.features.kinds) == (["year"], {"visib": "categorical"})
    assert config.train.model_dump() == {
        "normal": "wind_speed < 100", "rows": 5000, "seed": 3, "calibration": 0.25, "trim": "auto",
        "accept_if": {"max_score_loss": 1.0, "max_share_flagged": None},
    }  # fmt: skip
    assert (config.model.hidden, config.model.latent, config.model.kl_weight) == ([32, 16], 4, 1.0)
    assert (config.decision.false_alarm_rate, config.decision.reasons) == (0.001, 2)
    assert (config.output.table, config.output.mode, config.output.prefix) == ("main.scored", "append", "vae_")


def test_what_is_left_out_has_its_default(write):
    """A file with a name only is the default config with that name."""
    assert load_config(write("name: small\n")) == Config(name="small")


def test_a_place_reads_as_its_path_or_table():
    """A source or an output prints as the path or table it names."""
    config = parse_config({"source": {"path": "a/b"}, "output": {"table": "c.d"}})
    assert (str(config.source), str(config.output)) == ("a/b", "c.d")


# --- Files that are no config


def test_missing_file_says_how_to_write_one(tmp_path):
    """A missing file is named, with the command that writes one."""
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.yaml")
    assert str(caught.value) == (
        f"Config file {tmp_path / 'none.yaml'} does not exist.\n"
        "  to do: `vae-anomaly init --source PATH --output FILE` writes one."
    )


def test_a_folder_is_no_config_file(tmp_path):
    """A folder in place of a file is a ConfigError, not an OSError."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    """A file that is not UTF-8 is a ConfigError."""
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"name: \xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)


def test_broken_yaml_is_refused_with_its_place(refused):
    """A YAML syntax error says the line it stands on."""
    message = refused("name: a\nkey: [a, b\n")
    assert message.startswith("Config file FILE is not valid YAML.\n  found: ")
    assert "line 3" in message


@pytest.mark.parametrize(
    ("text", "found"), [("- a\n- b\n", "list"), ("just words\n", "str"), ("", "NoneType"), ("# nothing\n", "NoneType")]
)
def test_a_file_that_is_no_mapping_is_refused(refused, text, found):
    """A list, a sentence and an empty file are not configs."""
    assert refused(text) == (f"Config file FILE is not a YAML mapping.\n  expected: key: value pairs\n  found: {found}")


def test_duplicate_keys_are_refused(refused):
    """A key that stands twice is refused and named: neither of the two wins silently."""
    message = refused("name: a\nengine: sail\nname: b\n")
    assert message.startswith("Config file FILE is not valid YAML.")
    assert 'duplicate key "name"' in message


def test_nested_duplicate_keys_are_refused(refused):
    """A key that stands twice inside a section is refused too."""
    assert 'duplicate key "seed"' in refused("train: {seed: 1, rows: 200, seed: 2}\n")


def test_yaml_tags_build_no_objects(refused):
    """A YAML tag that asks for a Python object is refused."""
    assert "not valid YAML" in refused("name: !!python/object/apply:os.getcwd []\n")


# --- Wrong keys and values


def test_unknown_key_is_answered_with_the_nearest_known(refused):
    """A misspelt key at the top is answered with the key that was meant."""
    assert refused("nmae: a\n") == ("Config file FILE has 1 problem:\n  - nmae: unknown key; did you mean 'name'?")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train: {row: 5}", "train.row: unknown key; did you mean 'rows'?"),
        ("source: {path: a, wher: b}", "source.wher: unknown key; did you mean 'where'?"),
        ("decision: {false_alarm: 0.1}", "decision.false_alarm: unknown key; did you mean 'false_alarm_rate'?"),
        ("output: {path: a, FORMAT: delta}", "output.FORMAT: unknown key; did you mean 'format'?"),
    ],
)
def test_unknown_nested_key_is_answered_from_its_own_section(refused, text, line):
    """A misspelt key inside a section is answered with a key of that section."""
    assert refused(text) == f"Config file FILE has 1 problem:\n  - {line}"


def test_unknown_key_like_no_other_lists_the_known(refused):
    """A key that resembles nothing is answered with the keys the section knows."""
    assert refused("features: {zzz: 1}") == (
        "Config file FILE has 1 problem:\n"
        "  - features.zzz: unknown key; known keys: include, exclude, kinds, image, sequence"
    )


def test_every_problem_is_named_at_once(refused):
    """Three mistakes in three sections make one message with three dotted paths."""
    assert refused(
        """
        engine: flink
        source: {path: a, table: b}
        train: {rows: 10, sed: 1}
        features: {kinds: {origin: text}}
        """
    ) == (
        "Config file FILE has 5 problems:\n"
        "  - engine: input should be 'auto', 'sail', 'spark' or 'connect', found 'flink'\n"
        "  - source: give either 'path' or 'table', one of the two\n"
        "  - features.kinds.origin: input should be 'numeric', 'boolean', 'categorical', 'datetime', 'vector' or "
        "'image', found 'text'\n"
        "  - train.rows: input should be greater than or equal to 100, found 10\n"
        "  - train.sed: unknown key; did you mean 'seed'?"
    )


def test_a_wrong_value_in_a_list_is_named_by_its_index(refused):
    """A bad element of a list is named with its position."""
    assert refused("model: {hidden: [64, 0]}") == (
        "Config file FILE has 1 problem:\n  - model.hidden.1: input should be greater than 0, found 0"
    )


@pytest.mark.parametrize(
    "text",
    [
        "decision: {false_alarm_rate: 0}",
        "decision: {false_alarm_rate: 1}",
        "decision: {expected_alerts: {alerts: 0, rows: 10}}",
        "decision: {expected_alerts: {alerts: 1}}",
        "decision: {expected_alerts: {alerts: 1, rows: 0}}",
        "decision: {by: carrier}",
        "decision: {threshold: .nan}",
        "decision: {threshold: .inf}",
        "train: {calibration: 0.6}",
        "train: {seed: -1}",
        "model: {steps: 0}",
        "model: {learning_rate: 0}",
        "model: {kl_weight: 0}",
        "features: {include: []}",
        "output: {path: a, prefix: 'a b'}",
        "output: {path: ''}",
        "name: 'a/b'",
    ],
)
def test_values_out_of_range_are_refused(refused, text):
    """A value outside what its field allows is one problem of the file."""
    assert refused(text).startswith("Config file FILE has 1 problem:\n  - ")


# --- Configs that contradict themselves


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "features: {include: [a, b, c], exclude: [c, b]}",
            "features: columns both included and excluded: b, c",
        ),
        (
            "features: {exclude: [a], kinds: {a: numeric}}",
            "features: kinds are set for columns that are not features: a",
        ),
        (
            "features: {include: [b], kinds: {a: numeric}}",
            "features: kinds are set for columns that are not features: a",
        ),
        ("{key: [id, day], features: {include: [a, id]}}", "(whole file): key columns cannot be features: id"),
        ("{key: [id], features: {kinds: {id: numeric}}}", "(whole file): key columns cannot be features: id"),
        ("source: {path: a, table: b}", "source: give either 'path' or 'table', one of the two"),
        ("source: {format: csv}", "source: give either 'path' or 'table', one of the two"),
        ("alerts: {path: a}", "(whole file): alerts needs 'output', among whose rows they are"),
        (
            "{output: {path: a}, alerts: {path: b}}",
            "(whole file): alerts needs 'key', the columns that say which row an alert is about",
        ),
        (
            "{key: [id], output: {path: a}, alerts: {path: b, budget: 5, fdr: 0.1}}",
            "alerts: give either 'budget' or 'fdr', one of the two",
        ),
        (
            "{key: [id], output: {path: a}, alerts: {budget: 5}}",
            "alerts: give either 'path' or 'table', one of the two",
        ),
        (
            "{key: [id], output: {path: a}, alerts: {path: b, budget: 0}}",
            "alerts.budget: input should be greater than or equal to 1, found 0",
        ),
        (
            "{key: [id], output: {path: a}, alerts: {path: b, budget: 1.5}}",
            "alerts.budget: input should be a valid integer, got a number with a fractional part, found 1.5",
        ),
        (
            "{key: [id], output: {path: a}, alerts: {path: b, fdr: 0}}",
            "alerts.fdr: input should be greater than 0, found 0",
        ),
        (
            "{key: [id], output: {path: a}, alerts: {path: b, fdr: 1}}",
            "alerts.fdr: input should be less than 1, found 1",
        ),
        (
            "{key: [id], output: {path: a}, alerts: {path: b}, model: {path: b/m.vae}}",
            "(whole file): model.path must not lie at or within alerts.path",
        ),
        ("output: {path: a, table: b}", "output: give either 'path' or 'table', one of the two"),
        (
            "decision: {false_alarm_rate: 0.01, threshold: 3}",
            "decision: give one rule, found 'false_alarm_rate' and 'threshold'",
        ),
        (
            "decision: {expected_alerts: {alerts: 2, rows: 1000}, false_alarm_rate: 0.01, threshold: 3}",
            "decision: give one rule, found 'false_alarm_rate' and 'expected_alerts' and 'threshold'",
        ),
        (
            "decision: {threshold: 3, by: [carrier]}",
            "decision: 'by' goes with a rate or with expected alerts: a 'threshold' is one for all segments",
        ),
        ("alerts: folder", "alerts: expected a section of the keys path, table, format, budget, fdr, found 'folder'"),
        ("key: [id, day, id]", "(whole file): columns named twice in 'key': id"),
        (
            "{key: [id], output: {path: a}, alerts: {path: b, budget: 3000000000}}",
            "alerts.budget: input should be less than or equal to 2147483647, found 3000000000",
        ),
        ("decision: {by: [b, a, b]}", "decision: columns named twice in 'by': b"),
        (
            "decision: {expected_alerts: {alerts: 10, rows: 10}}",
            "decision.expected_alerts: alerts must be fewer than rows, found 10 of 10",
        ),
    ],
)
def test_contradictions_are_refused(refused, text, line):
    """Two settings that exclude each other are named together."""
    assert refused(text) == f"Config file FILE has 1 problem:\n  - {line}"


def test_a_threshold_alone_is_a_decision():
    """A threshold without a rate is taken, though the rate has a default."""
    assert Decision(threshold=3).threshold == 3.0


@pytest.mark.parametrize(
    ("decision", "rate"),
    [
        ({"threshold": 3.0}, 1),
        ({"false_alarm_rate": 0.01}, 0.01),
        ({"expected_alerts": {"alerts": 20, "rows": 1_000_000}}, 2e-5),
        ({"expected_alerts": {"alerts": 0.5, "rows": 1000}, "by": ["b", "a"]}, 5e-4),
        ({"by": ["day"]}, 0.001),
        ({}, 0.001),
    ],
)
def test_a_dumped_config_is_valid_again(decision, rate):
    """What a model file keeps of a config, all fields written out, validates to the same config, and decides so."""
    config = parse_config({"decision": decision})
    assert parse_config(config.model_dump(mode="json")) == config
    assert config.decision.rate == rate


def test_a_decision_without_segments_is_dumped_as_ever():
    """The model files of those who do not use them are, byte for byte, what they were."""
    assert Decision().model_dump() == {"false_alarm_rate": 0.001, "reasons": 5, "max_missing": 0.5}


# --- Credentials


@pytest.mark.parametrize(
    "text",
    [
        "source: {path: 's3://AKIAHUNTER2:hunter2/x@lake/rows'}",
        "source: {table: 'delta.`s3a://AKIAHUNTER2:hunter2@lake/rows`'}",
        "model: {path: 'https://a.blob.core.windows.net/m.vae?sig=hunter2'}",
        "output: {path: 'hdfs://me:hunter2@host/x'}",
        "source: {path: a, options: {fs.s3a.access.key: AKIAHUNTER2, fs.s3a.secret.key: hunter2}}",
        "source: {path: a, options: {PASSWORD: hunter2}}",
        "source: {path: a, options: {fs.azure.account.key.a.dfs.core.windows.net: hunter2}}",
        "source: {path: a, options: {sasToken: 7162534}}",
        "source: {path: a, options: {url: 'jdbc:x://me:hunter2@host/db'}}",
    ],
)
def test_credentials_are_refused_and_not_shown(refused, text):
    """A password in a path or an option is answered with where it belongs; the message does not repeat it."""
    message = refused(text)
    assert "credentials do not belong here" in message
    assert "Give credentials by the environment" in message
    assert "hunter2" not in message.lower() and "7162534" not in message


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("source: s3://AKIA:hunter2@lake/rows", ()),
        ("source: [{path: a, password: hunter2}]", ()),
        ("source: {path: [s3://AKIA:hunter2@lake/rows]}", ()),
        ("source: {path: a, password: hunter2}", ()),
        ("source: {path: a, options: {header: [password, hunter2]}}", ()),
        ("name: s3://AKIA:hunter2@lake", ()),
        ("source: {path: a, password: hunter2, password: hunter2}", ()),
        ("source: {path: a, password: 'hunter2}", ()),
        ("password: hunter2 : x", ()),
        ("name: a", ("source.path s3://AKIA:hunter2@lake/rows",)),
        ("name: a", ("source.options.password=[hunter2",)),
        ("name: a", ("source.options.password=hunter2",)),
        ("name: a", ("source.password=hunter2",)),
    ],
)
def test_no_message_shows_a_password(refused, text, overrides):
    """Whatever else is wrong with a config, a password in it is not repeated."""
    assert "hunter2" not in refused(text, overrides)


def test_pydantics_own_text_shows_no_value():
    """Who validates a config without this package's messages sees no value either."""
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"source": {"path": "s3://AKIA:hunter2@lake"}})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["header", "sep", "mergeSchema", "versionAsOf", "multiLine", "key", "sigma"])
def test_ordinary_options_are_taken(name):
    """Options of readers that are no credentials pass."""
    assert parse_config({"source": {"path": "a", "options": {name: "x"}}}).source.options == {name: "x"}


# --- --set


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.rows=500", "train.rows", 500),
        ("train.normal=wind_speed < 100 AND a = 'b'", "train.normal", "wind_speed < 100 AND a = 'b'"),
        ("key=[a, b]", "key", ["a", "b"]),
        ("features.kinds={a: categorical}", "features.kinds", {"a": "categorical"}),
        ("features.kinds.b=numeric", "features.kinds", {"b": "numeric"}),
        ("decision.false_alarm_rate=1e-2", "decision.false_alarm_rate", 0.01),
        ("source.path=s3://bucket/key=value", "source.path", "s3://bucket/key=value"),
        ("source.options={header: 'true'}", "source.options", {"header": "true"}),
        ("model.latent=null", "model.latent", None),
        ("model.latent=", "model.latent", None),
    ],
)
def test_overrides_take_yaml_values(write, override, path, value):
    """The value of --set is YAML: a number, a string, a list, a mapping or nothing."""
    found = load_config(write("source: {path: x}\nmodel: {latent: 3}\n"), [override])
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


def test_overrides_make_the_sections_they_need(write):
    """--set reaches into a section the file does not have."""
    config = load_config(write("name: a\n"), ["output.path=out", "output.mode=append"])
    assert (config.output.path, config.output.mode) == ("out", "append")


def test_overrides_keep_the_neighbours_of_a_key(write):
    """--set changes one key of a section and leaves the rest."""
    config = load_config(write("train: {rows: 300, seed: 4}\n"), ["train.seed=9"])
    assert (config.train.rows, config.train.seed) == (300, 9)


def test_the_last_override_wins(write):
    """Of two overrides of one key, the later one counts."""
    assert load_config(write("name: a\n"), ["name=b", "train.seed=1", "name=c"]).name == "c"


@pytest.mark.parametrize("override", ["train.rows", "=3", ".rows=3", "train.=3", "train..rows=3", ""])
def test_a_malformed_override_is_refused(refused, override):
    """An override without key or equals sign is answered with the form it should have."""
    assert refused("name: a\n", [override]) == (
        f"--set {override!r} is not understood.\n  expected: dotted.key=value"
        + (f"\n  found: {override}" if override else "")
    )


def test_an_override_with_broken_yaml_is_refused(refused):
    """A value that is no YAML is answered with the override it belongs to."""
    assert refused("name: a\n", ["key=[a"]).startswith("The value of --set key is not valid YAML.")


def test_an_unknown_override_is_refused_like_an_unknown_key(refused):
    """An override of a key that does not exist is answered with the nearest known."""
    assert "model.lattent: unknown key; did you mean 'latent'?" in refused("name: a\n", ["model.lattent=2"])


# --- Values


def test_a_job_gets_what_it_needs():
    """Nothing missing: a job's parts are given as they stand in the config."""
    config = parse_config({"source": {"path": "a"}, "model": {"path": "b"}, "output": {"path": "c"}})
    assert config.for_reading() is config.source
    assert config.for_training() == (config.source, "b")
    assert config.for_scoring() == (config.source, config.output)
    assert config.for_run() == (config.for_training(), config.for_scoring())


def test_one_missing_key_is_named():
    """One key missing: the message is in the singular."""
    with pytest.raises(ConfigError) as caught:
        parse_config({"source": {"path": "a"}}).for_training()
    assert str(caught.value) == (
        "The config lacks 'model.path'.\n  to do: Add it. `vae-anomaly init` writes a complete example."
    )


def test_all_missing_keys_are_named():
    """Several keys missing, some of them inside a missing section: all are named."""
    with pytest.raises(ConfigError) as caught:
        Config().for_run()
    assert str(caught.value) == (
        "The config lacks 'source' and 'model.path' and 'output'.\n"
        "  to do: Add them. `vae-anomaly init` writes a complete example."
    )


@pytest.mark.parametrize("section", [None, "features", "train", "model", "decision", "source", "output"])
def test_values_are_frozen(section):
    """No field of any section can be assigned to."""
    config = parse_config({"source": {"path": "a"}, "output": {"path": "b"}})
    target = getattr(config, section) if section else config
    name = next(iter(type(target).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(target, name, getattr(target, name))


def test_the_walk_over_sections_finds_them_all():
    """The test below looks at the config, its sections, and those within a section."""
    assert {section.__name__ for section in sections()} == {
        "Config", "Source", "Incremental", "Features", "Image", "Sequence", "Train", "AcceptIf", "Model", "Decision",
        "ExpectedAlerts", "Output", "Alerts", "Runs", "Drift", "Gates", "Rejected", "Tracking", "MLflow", "OpenLineage",
    }  # fmt: skip


@pytest.mark.parametrize("section", sorted(sections(), key=lambda s: s.__name__))
def test_every_field_is_documented(section):
    """The line under each field is its description, and a sentence."""
    assert issubclass(section, Section)
    fields = section.model_fields.items()
    missing = [name for name, field in fields if not (field.description or "").endswith((".", ")"))]
    assert missing == []


@pytest.mark.parametrize("version", ["current", 7, "2795c7e0127f", "0" * 64])
def test_a_version_is_current_a_number_or_a_digest(version):
    """What a version is called is taken as it is."""
    assert parse_config({"model": {"version": version}}).model.version == version


@pytest.mark.parametrize("version", ["7", "latest", 0, -1, True, 1.0, 279570120123, 1e30, "2795c7", "../../m.vae"])
def test_what_is_no_version_is_one_problem(version):
    """Digits without quotes, which YAML may take for a number, are told how to be written."""
    with pytest.raises(ConfigError) as caught:
        parse_config({"model": {"version": version}})
    expected = "model.version: input should be 'current', a number such as 7, or a digest in quotes"
    assert expected in str(caught.value) and "1 problem" in str(caught.value)


SHARES = st.floats(1e-9, 0.999)


@given(st.builds(Decision, false_alarm_rate=SHARES, reasons=st.integers(1, 9), max_missing=SHARES))
def test_a_decision_has_a_digest_of_its_own(decision):
    """Twelve digits that follow from what it says: from no default left out, and from every change."""
    assert re.fullmatch("[0-9a-f]{12}", decision.digest)
    assert decision.digest == Decision.model_validate(decision.model_dump()).digest
    others = [{"reasons": decision.reasons + 1}, {"max_missing": decision.max_missing / 2}, {"threshold": 1.0}]
    others += [{"by": ["a"]}, {"by": ["b"]}]
    assert decision.digest not in {decision.model_copy(update=other).digest for other in others}


@pytest.mark.parametrize(
    ("source", "model", "output", "key"),
    [
        ("rows.parquet", "./rows.parquet", "out", "source.path"),
        ("rows", "rows/m.vae", "out", "source.path"),
        ("rows", "out/m.vae", "out/", "output.path"),
        ("s3a://b/rows", "s3://b/rows/m.vae", "out", "source.path"),
        ("rows", "rows/models/", "out", "source.path"),
        ("rows", "out/", "out", "output.path"),
    ],
)
def test_a_model_does_not_lie_in_what_is_read_or_written(refused, source, model, output, key):
    """Its file would overwrite rows, be read as some, or go with the previous output."""
    text = f"source: {{path: {source}}}\nmodel: {{path: {model}}}\noutput: {{path: '{output}'}}\n"
    assert f"model.path must not lie at or within {key}" in refused(text)
