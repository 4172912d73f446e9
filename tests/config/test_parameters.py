"""Parameters: their types by their looks, and what becomes of them in a config."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from tests.config.test_config import sections
from vae_model import load_config
from vae_model.config import shape
from vae_model.config.parameters import from_options, from_values
from vae_model.config.section import Holds
from vae_model.errors import ConfigError
from vae_model.training.model import ELSEWHERE


@pytest.fixture
def filled(tmp_path):
    """The config of a text and of ``--param`` options, or of Python's values."""

    def filled(text, options=(), **values):
        path = tmp_path / "job.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, parameters=values or from_options(options))

    return filled


@pytest.fixture
def refused(filled):
    """The message with which a text and its parameters are refused."""

    def refused(text, *options):
        with pytest.raises(ConfigError) as caught:
            filled(text, options)
        return str(caught.value)

    return refused


# --- Types


@pytest.mark.parametrize(
    ("option", "sql"),
    [
        ("x=2026-01-31", "DATE '2026-01-31'"),
        ("x=2026-01-31T06:00", "TIMESTAMP '2026-01-31 06:00:00'"),
        ("x=2026-01-31 06:00:00.25", "TIMESTAMP '2026-01-31 06:00:00.250000'"),
        ("x=2026-01-31T06:00:00Z", "TIMESTAMP '2026-01-31 06:00:00+00:00'"),
        ("x=2026-01-31T06:00:00+02:00", "TIMESTAMP '2026-01-31 06:00:00+02:00'"),
        ("x=20", "20"),
        ("x=-1.5e3", "-1.5e3"),
        ("x=JFK", "'JFK'"),
        ("x=007", "'007'"),  # a code with zeros, which as a number would lose them
        ("x=1_000", "'1_000'"),
        ("x=20260131T060000", "'20260131T060000'"),
        ("x=nan", "'nan'"),
        ("x=", "''"),
        ("x=a=b:c", "'a=b:c'"),
        ("x:text=2026-01-31", "'2026-01-31'"),
        ("x:text=20", "'20'"),
        ("x:date=2026-01-31", "DATE '2026-01-31'"),
    ],
)
def test_a_parameter_has_a_type_by_its_looks_or_as_it_is_told(option, sql):
    """What looks like a date, a timestamp or a number is one in SQL; all else is a text."""
    assert from_options([option])["x"].sql == sql


@pytest.mark.parametrize(
    ("value", "sql", "text"),
    [
        (date(2026, 1, 31), "DATE '2026-01-31'", "2026-01-31"),
        (datetime(2026, 1, 31, 6), "TIMESTAMP '2026-01-31 06:00:00'", "2026-01-31T06:00:00"),
        (datetime(2026, 1, 31, 6, tzinfo=UTC), "TIMESTAMP '2026-01-31 06:00:00+00:00'", "2026-01-31T06:00:00+00:00"),
        (20, "20", "20"),
        (np.float64(-0.5), "-0.5", "-0.5"),  # a float of Python's, too
        (1e16, "1e+16", "1e+16"),
        ("2026-01-31", "'2026-01-31'", "2026-01-31"),
    ],
)
def test_a_value_of_python_has_its_own_type(value, sql, text):
    """A string is a text, whatever it looks like."""
    assert from_values({"x": value})["x"][:2] == (sql, text)[::-1]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("x", ["--param 'x' is not understood", "name=value"]),
        ("=3", ["'' is no name"]),
        ("1x=3", ["'1x' is no name"]),
        ("a-b=3", ["'a-b' is no name"]),
        ("x:dat=3", ["no such type", "did you mean 'date'?"]),
        ("x=2026-02-30", ["'x' is not usable", "found: 2026-02-30", "--param x:text=…"]),
        ("x=2026-01-01T25:00", ["'x' is not usable"]),
        ("x:date=today", ["expected: a date"]),
        ("x:date=2026-01-01T00:00", ["expected: a date"]),
        ("x:number=inf", ["expected: a finite number"]),
        ("x=1e400", ["expected: a finite number"]),
        ("x=" + "1" * 39, ["at most 38 digits"]),  # Sail would cut it
        ("x=\ud800", ["text in Unicode"]),  # what a command line has that is no UTF-8
        ("api_token=hunter2", ["'api_token' is named like a credential"]),
        ("PASSWORD:date=hunter2", ["named like a credential"]),
    ],
)
def test_what_is_no_parameter_is_refused(option, words):
    """A wrong name, type or value is told; the value of what is named like a credential is not."""
    with pytest.raises(ConfigError) as caught:
        from_options([option])
    assert [word for word in words if word not in str(caught.value)] == []
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", [True, None, b"x", [1], float("nan"), np.int64(3)])
def test_other_values_of_python_are_refused(value):
    """What has no SQL literal of its own is an error that names the parameter."""
    with pytest.raises(ConfigError, match="parameter 'x'"):
        from_values({"x": value})


# --- In SQL


def test_a_predicate_gets_literals(filled):
    """In a predicate each value is a SQL literal."""
    config = filled(
        "source: {path: a, where: 'day = {{ ds }} AND n > -{{ n }} AND o IN ({{ o }},{{o}})'}\n"
        'train: {normal: "d < date_sub({{ ds }}, {{ n }})"}\n',
        ["ds=2026-01-31", "n=-5", "o=O'Brien"],
    )
    o = "CAST(X'4f27427269656e' AS STRING)"
    assert config.source.where == f"day = DATE '2026-01-31' AND n > - -5 AND o IN ({o},{o})"
    assert config.train.normal == "d < date_sub(DATE '2026-01-31', -5)"


def test_the_predicates_of_the_config_are_known():
    """Fields that are SQL are typed so: these two have no other type than a predicate's."""
    found = {
        f"{section.__name__}.{name}"
        for section in sections()
        for name, field in section.model_fields.items()
        if shape.holds(field.rebuild_annotation()) is Holds.SQL
    }
    assert {"Source.where", "Train.normal"} <= found
    named = {"where", "normal", "predicate", "condition"}
    assert {f"{s.__name__}.{name}" for s in sections() for name in s.model_fields if name in named} <= found


@pytest.mark.parametrize(
    "where",
    [
        "day = '{{ ds }}'",
        'day = "{{ ds }}"',
        "day = 'x {{ ds }} y'",
        "`{{ ds }}` = 1",
        "a = 'it''s {{ ds }}'",
        r"a = 'x\' {{ ds }}'",
        r"a = r'\\' AND b = '{{ ds }}'",
        "a = 'open {{ ds }}",
        "a = 1 -- {{ ds }}",
        "a = 1 -- x\\\n {{ ds }}",  # Spark reads on after a backslash
        "/* {{ ds }} */ a = 1",
        "/* /* x */ {{ ds }} */ a = 1",
        "a = 1 /* {{ ds }}",
    ],
)
def test_a_value_within_quotes_or_a_comment_is_refused(tmp_path, where):
    """The literal brings its own quotes: within others it would be SQL, or nothing."""
    with pytest.raises(ConfigError, match="without quotes"):
        load_where(tmp_path, where)


@pytest.mark.parametrize(
    "where",
    [
        "a = 'x' AND d = {{ ds }}",
        "a = 'it''s' AND d = {{ ds }}",
        r"a = 'x\'' AND d = {{ ds }}",
        r"a = r'\' AND d = {{ ds }}",
        'a = "\'" AND d = {{ ds }}',
        "`o'clock` = {{ ds }}",
        "a = 1 -- it's the day\n AND d = {{ ds }}",
        "/* it's /* so */ */ d = {{ ds }}",
        "a LIKE '%{%' AND d = {{ ds }}",
        "a LIKE '%{{{{%' AND d={{ ds }}",
        "d BETWEEN {{ ds }} AND {{ds}}",
    ],
)
def test_a_value_beside_quotes_and_comments_is_filled(tmp_path, where):
    """What only stands near a string, a quoted name or a comment is a value."""
    expected = (
        where.replace("{{ ds }}", "DATE '2026-01-31'").replace("{{ds}}", "DATE '2026-01-31'").replace("{{{{", "{{")
    )
    assert load_where(tmp_path, where) == expected


@pytest.mark.parametrize(
    "where", ["d = r{{ ds }}", "d = 'a'{{ ds }}", "d = {{ ds }}{{ ds }}", "{{ ds }}.x = 1", "a{{ ds }}"]
)
def test_a_value_that_touches_a_word_is_refused(tmp_path, where):
    """A literal that runs into its neighbour would be another value, or SQL (r'…' has other quotes)."""
    with pytest.raises(ConfigError, match="leave a space"):
        load_where(tmp_path, where)


def load_where(folder, where):
    """The predicate of a config, set as it is and filled with a day."""
    path = folder / "job.yaml"
    path.write_text("source: {path: a}\n")
    setting = "source.where=" + '"' + where.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return load_config(path, [setting], {"ds": date(2026, 1, 31)}).source.where


# --- In places


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("lake/day={{ x }}", "2026-01-31", "lake/day=2026-01-31"),
        ("s3://{{ x }}/rows", "my-bucket", "s3://my-bucket/rows"),
        ("lake/{{ x }}.parquet", "v1.5", "lake/v1.5.parquet"),
        ("lake/{{ x }}", "Zürich 7", "lake/Zürich 7"),
        ("{{ x }}", "../elsewhere", "../elsewhere"),
        ("{{ x }}/rows", "s3://bucket/a", "s3://bucket/a/rows"),
        ("lake/../{{ x }}", "a", "lake/../a"),
    ],
)
def test_a_path_gets_names(filled, path, value, expected):
    """In a path a value is a name as it was given; at its start, where the config names no place, any path."""
    assert filled(f"source: {{path: '{path}'}}", x=value).source.path == expected


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("lake/{{ x }}", ".."),
        ("lake/{{ x }}", "../secret"),
        ("lake/{{ x }}", "a/b"),
        ("lake/{{ x }}", "a\\b"),
        ("lake/{{ x }}", ""),
        ("lake/{{ x }}/", "."),
        ("lake/.{{ x }}", "."),
        ("lake/{{ x }}{{ x }}/a", "."),
        ("lake/../{{ x }}", ".."),
        ("lake/day={{ x }}", "*"),
        ("lake/{{ x }}", "{a,b}"),
        ("lake/{{ x }}", "%2e%2e"),
        ("lake/{{ x }}", "a\nb"),
        ("{{ x }}.parquet", "/etc/rows"),
        ("{{ x }}/rows", ""),
        ("s3://{{ x }}/rows", "key:secret@bucket"),
        ("s3://{{ x }}", "bucket/other"),
    ],
)
def test_a_value_does_not_lead_out_of_the_place(filled, path, value):
    """A step up or down, a pattern for several files, and nothing at all are refused, with the key's name."""
    with pytest.raises(ConfigError, match=r"source\.path: ") as caught:
        filled(f"source: {{path: '{path}'}}", x=value)
    assert "secret" not in str(caught.value)


def test_credentials_in_a_filled_path_are_refused(refused):
    """The whole path is looked at once it is filled, and not shown."""
    message = refused("source: {path: '{{ place }}'}", "place=s3://AKIA:hunter2@lake/rows")
    assert "credentials do not belong here" in message and "hunter2" not in message


@pytest.mark.parametrize(
    ("value", "ok"), [("eu_2026-01", True), ("b.c", False), ("`x`", False), ("", False), ("a/b", False)]
)
def test_a_tables_name_gets_parts_of_a_name(filled, value, ok):
    """A value in a table's name leads to no other schema."""
    text = "output: {table: 'main.scored_{{ x }}'}"
    if ok:
        assert filled(text, x=value).output.table == f"main.scored_{value}"
        return
    with pytest.raises(ConfigError, match=r"output\.table: "):
        filled(text, x=value)


# --- Elsewhere


def test_other_strings_get_the_text_and_other_keys_the_number(filled):
    """A number stays one where the key takes one, and is a text where it takes texts; keys are left alone."""
    config = filled(
        """
        name: "pumps-{{ ds }}"
        source: {path: a, options: {versionAsOf: "{{ n }}"}}
        key: ["{{ column }}"]
        features: {kinds: {"{{ column }}": numeric}}
        train: {rows: "{{ n }}", trim: "{{ share }}"}
        model: {hidden: ["{{ n }}"]}
        """,
        ["ds=2026-01-31", "n=500", "column=id", "share=0.25"],
    )
    assert (config.name, config.source.options, config.key) == ("pumps-2026-01-31", {"versionAsOf": "500"}, ["id"])
    assert (config.train.rows, config.train.trim, config.model.hidden) == (500, 0.25, [500])
    assert list(config.features.kinds) == ["{{ column }}"]


def test_every_missing_and_every_idle_name_is_told(refused):
    """What the config asks for and is not given, and what is given and not asked for, with the nearest name."""
    text = "source: {path: '{{ root }}', where: 'a = {{ ds }}'}\nkey: [a, '{{ column }}']"
    assert refused(text, "dss=1", "column=b").partition("\n")[2] == (
        "  - source.path: no value is given for {{ root }}; given: column, dss\n"
        "  - source.where: no value is given for {{ ds }}; did you mean 'dss'? given: column, dss\n"
        "  - parameter 'dss': nothing in the config has {{ dss }}; did you mean 'ds'?"
    )


def test_a_config_with_parameters_and_none_given_says_how(refused):
    """Without any --param, the message has the option in it."""
    assert "source.path: no value is given for {{ ds }}; add --param ds=VALUE" in refused("source: {path: '{{ ds }}'}")


@pytest.mark.parametrize("text", ["{{ ds | upper }}", "{% if a %}b{% endif %}", "{{ ds"])
def test_no_template_language(refused, text):
    """Whatever else stands in braces is told with its key."""
    assert "source.where: " in refused(f'source: {{path: a, where: "{text}"}}', "ds=1")


def test_braces_without_quotes_get_a_hint(refused):
    """YAML takes bare braces for a mapping; the message says what to do."""
    assert "stands in quotes" in refused("train: {rows: {{ n }}}", "n=300")


def test_what_a_model_keeps_does_not_change_with_the_day(filled):
    """The same training gives the same model whatever day is scored: a day in places and source.where is no part."""
    text = (
        "{source: {path: 'a{{ ds }}', where: 'd = {{ ds }}'}, output: {path: 'b{{ ds }}'}, model: {path: 'm{{ ds }}'}}"
    )
    kept = [filled(text, ds=date(2026, 1, day)).model_dump(mode="json", exclude=ELSEWHERE) for day in (1, 2)]
    assert kept[0] == kept[1]
