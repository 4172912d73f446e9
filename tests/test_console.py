"""What a person sees: lines of a log at even steps, numbers with their nouns, and nothing that a name would command."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

from vae_model.console import evaluation, tables
from vae_model.console.logs import PYSPARK_LOGS, LogFormat
from vae_model.console.reporter import Reporter
from vae_model.decisions.calibration import Alerts, Calibration
from vae_model.evaluation.metrics import Interval
from vae_model.evaluation.record import Decided, Evaluation, Found, Part
from vae_model.evaluation.record import Subject as Evaluated
from vae_model.evaluation.what_if import SHOWN, Subject, Tallies, Tally, WhatIf, ladder
from vae_model.runs.record import RunRecord
from vae_model.spark.sinks.summary import Summary
from vae_model.spark.sinks.top_rows import Reason, TopRow
from vae_model.training.loop import TrainingProgress


@pytest.mark.parametrize(("steps", "every"), [(300, 50), (2000, 50), (130, 50), (3, 1), (1800, 50)])
def test_training_is_logged_a_fifth_at_a_time(caplog, steps, every):
    """However many steps: at most five lines, each at the first report past a fifth, the last at the end."""
    reporter = Reporter(LogFormat.plain)
    logging.getLogger("vae_model").propagate = True
    with caplog.at_level(logging.INFO, "vae_model"), reporter.progress() as progress:
        for step in range(1, steps + 1):
            if step % every == 0 or step == steps:
                progress.step(TrainingProgress(step, steps, 1.0, 0.1 * step))
    told = [record.args[0] for record in caplog.records]
    assert 1 <= len(told) <= 5 and told[-1] == steps
    fifths = [5 * step // steps for step in told]
    assert fifths == sorted(set(fifths))


def summary(rows, flagged, top=10, sql="SELECT 1", by_segment=False):
    """A summary of so many rows, the first of the top ones flagged."""
    shown = [
        TopRow({"id": i}, 9.0 - i, 0.001, i < flagged, [Reason("flow", 1.0, "1", "2")]) for i in range(min(rows, top))
    ]
    decision = ("rows that score above 9.5", 9.5, 0.0025, 0.0025, Alerts(rows, rows * 0.0025, 0.0, 9.0), by_segment)
    return Summary(rows, rows if top else 0, flagged, {"ok": rows}, *decision, shown, "scored", sql)


def tell(format_, found):
    """Tell of a run that went well, and of its summary."""
    record = RunRecord("a run", "m", "run", statuses=found.statuses, output="scored").ending("succeeded")
    Reporter(format_).ended(record, found)


@pytest.mark.parametrize(
    ("rows", "flagged", "lines"),
    [
        (1, 1, ["Scored 1 row: 1 anomaly (100.000%).", "\nThe highest score:\n"]),
        (1200, 2, ["Scored 1,200 rows: 2 anomalies (0.167%).", "\nThe 10 highest scores:\n"]),
        (3, 0, ["Scored 3 rows: 0 anomalies (0.000%).", "\nThe 3 highest scores:\n"]),
    ],
)
def test_a_number_agrees_with_its_noun(capsys, rows, flagged, lines):
    """One row, one anomaly; two anomalies."""
    tell(LogFormat.plain, summary(rows, flagged))
    out = capsys.readouterr().out
    for line in lines:
        assert line in out


@pytest.mark.parametrize(
    ("sql", "record", "line"),
    [
        ("SELECT 2", {"alerts": 1200, "alerts_output": "s.t"}, "Alerts: 1,200 in s.t: SELECT 2\n"),
        (None, {}, None),
    ],
)
def test_the_alerts_are_a_line_with_their_query(capsys, sql, record, line):
    """How many there are, where, and how to read them; no word of them where the config asks for none."""
    found = replace(summary(3, 1), alerts_sql=sql)
    ended = RunRecord("a run", "m", "run", output="scored", **record).ending("succeeded")
    Reporter(LogFormat.plain).ended(ended, found)
    out = capsys.readouterr().out
    assert line in out if line else "Alerts" not in out


@pytest.mark.parametrize("flagged", [0, 2, 10])
def test_the_highest_rows_are_shown_flagged_or_not(capsys, flagged):
    """Each of the top rows is a line with its score, whether it is flagged, and its reasons; the rule stands above."""
    tell(LogFormat.plain, summary(1200, flagged))
    rule, table = capsys.readouterr().out.split("The 10 highest scores:")
    assert "\nDecision: rows that score above 9.5.\n" in rule
    assert f"\nFlagged: 3 (0 to 9) to expect of 1,200 normal rows, found {flagged}.\n" in rule
    told = [line.split() for line in table.splitlines()[2:12]]
    yes = ["yes" if i < flagged else "no" for i in range(10)]
    assert told == [[str(i), f"{9 - i}.00", yes[i], "flow", "1", "(2)", "100%"] for i in range(10)]


@pytest.mark.parametrize(
    ("flagged", "top", "by_segment", "words"),
    [
        (0, 10, False, "No row is flagged: the highest score, 9, is not above the cut of 9.5. "),
        (0, 10, True, "No row is flagged: no score is above 9.5 times the level of its segment. "),
        (0, 0, False, "No row is flagged: none has a score."),
        (1, 10, False, None),
    ],
)
def test_where_nothing_is_flagged_the_summary_says_why(capsys, flagged, top, by_segment, words):
    """The highest score and the cut it does not reach, or that no row has a score; nothing where one is flagged."""
    tell(LogFormat.plain, summary(1200, flagged, top, by_segment=by_segment))
    out = capsys.readouterr().out
    assert words in out if words else "No row is flagged" not in out


def test_the_json_summary_says_which_rows_are_flagged(capsys):
    """A top row is told with its decision, and the summary with the cut and the rates."""
    tell(LogFormat.json, summary(1200, 1))
    record = json.loads(capsys.readouterr().err.splitlines()[0])
    assert [row["is_anomaly"] for row in record["top"]] == [True] + [False] * 9
    assert (record["cut"], record["resulting_rate"], record["finest_rate"]) == (9.5, 0.0025, 0.0025)


def test_a_record_is_a_line_and_its_stack_is_indented(capsys):
    """Whatever logs whatever: the message is one line, and the lines of a stack below it are no lines of the log."""
    Reporter(LogFormat.plain)
    try:
        raise ValueError("one\n12:00:00 ERROR two")
    except ValueError:
        logging.getLogger("vae_model.anything").exception("It\n12:00:00 ERROR %s", "failed\x1b[2J")
    first, *stack = capsys.readouterr().err.splitlines()
    assert first.endswith(" ERROR It\\n12:00:00 ERROR failed\\x1b[2J")
    assert stack and all(line.startswith("  ") for line in stack)


def test_a_number_that_json_has_not_is_told_as_text(capsys):
    """NaN and infinities in the data of a record are text: each line is JSON for any reader."""
    Reporter(LogFormat.json)
    data = {"key": {"x": float("nan"), "y": [float("-inf")], "z": 1.5}}
    logging.getLogger("vae_model").info("Scored", extra={"data": data})

    def refuse(constant):
        raise AssertionError(constant)

    record = json.loads(capsys.readouterr().err, parse_constant=refuse)
    assert record["key"] == {"x": "NaN", "y": ["-Infinity"], "z": 1.5}


@pytest.mark.parametrize(("sql", "noted"), [("SELECT `a` FROM `t`", False), ("SELECT `a\x1b` FROM `t`", True)])
def test_sql_that_cannot_be_copied_says_so(capsys, sql, noted):
    """A name that holds what is not shown is written with escapes, and a line says that the SQL does not run so."""
    tell(LogFormat.plain, summary(1, 0, sql=sql))
    out = capsys.readouterr().out
    assert "\x1b" not in out and ("does not run" in out) == noted


@pytest.mark.parametrize("name", PYSPARK_LOGS)
def test_an_engines_words_are_not_written_beside_the_error(capsys, name):
    """Spark 4's client logs each failed query itself, its names as they are: the error of ours is all that is told."""
    logger = pytest.importorskip("pyspark.logger", reason="Spark 3.5 has no such log").PySparkLogger.getLogger(name)
    Reporter(LogFormat.plain)
    logger.exception("no column `\x1b[2J`", errorClass="UNRESOLVED_COLUMN")
    assert capsys.readouterr().err == ""


def test_a_tables_title_obeys_no_name(capsys):
    """It may hold a folder's name, or a column's: what moves the cursor, or is rich's own markup, is shown."""
    Reporter(LogFormat.plain).out.print(tables.table(("a",), [["b"]], "Versions in m\x1b[2J[red]x"))
    assert capsys.readouterr().out.startswith(r"Versions in m\x1b[2J[red]x")


def what_if(segments, by="s", threshold=None):
    """What would be said of so many segments, one row each, all flagged."""
    calibration = Calibration(np.arange(999.0), 0.01 if threshold is None else 1.0, threshold)
    cuts = ladder(calibration)
    one = Tally(1, 1, (1,) * len(cuts))
    parts = {(value,): one for value in segments}
    whole = Tally(len(parts), len(parts), (len(parts),) * len(cuts))
    subject = Subject("m@0", "scored", True, None, (by,), ("a note",))
    return WhatIf.of(subject, calibration, cuts, Tallies(whole, {}, {}, parts))


def test_what_if_shows_the_noisiest_segments_and_sums_the_others(capsys):
    """A line for each of the first, one for the rest; null has a name."""
    Reporter(LogFormat.plain).what_if(what_if([None, *(f"v{i}" for i in range(SHOWN + 4))]))
    out = capsys.readouterr().out
    assert len([line for line in out.splitlines() if line.startswith((" v", " (null)"))]) == SHOWN
    assert "(5 others)" in out and "(null)" in out and "Note: a note." in out


def test_what_if_marks_a_threshold(capsys):
    """It stands among the rates, by what it flags of the held-out rows."""
    Reporter(LogFormat.plain).what_if(what_if(["v"], threshold=980.0))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith((" * ", "   "))]
    assert [line[0] for line in lines if line[0] != "rate"] == ["0.1", "0.3", "1", "*", "3", "10"]


def test_what_if_obeys_no_value(capsys):
    """A segment's value or a column's name that would move the cursor is shown as an escape."""
    Reporter(LogFormat.plain).what_if(what_if(["a\x1b[2J\nb", "[red]c"], by="s\x1b[2J"))
    out = capsys.readouterr().out
    assert "\x1b[2J" not in out and r"a\x1b[2J\nb" in out and r"s\x1b[2J" in out and "[red]c" in out


def found_on(columns, place="data/t.parquet"):
    """An evaluation of errors that were planted in some columns, the best found first."""
    share = Interval(0.5, 0.25, 0.75)
    figures = {"recall": share, "auc_roc": share}
    ours = Found("this model", figures, None, 1.0, 2.0, {"tail": 0.5})
    z = Found("z-score by column", figures, Interval(0.0, -0.5, 0.5), 0.0, 0.0, {"tail": 0.25})
    parts = [Part(name, 10, i / len(columns), None) for i, name in enumerate(columns)]
    decided = Decided(0.001, share, None, 0.75, [Part("tail", 10, 0.5, 0.75)], parts)
    rows = {"fitted": 5, "clean": 1000, "planted": 10}
    subject = Evaluated("m@0", place, "other rows", notes=("a note",))
    return Evaluation(subject, "above 3", 0.001, "recall", rows, [ours, z], decided)


def test_an_evaluation_tells_the_worst_columns_and_counts_the_others(capsys):
    """A line for each detector, each kind and each of the first columns; the notes; the verdict last."""
    Reporter(LogFormat.plain).evaluation("m", found_on([f"c{i}" for i in range(evaluation.SHOWN + 4)]), None)
    out = capsys.readouterr().out
    assert len([line for line in out.splitlines() if line.startswith(" c")]) == evaluation.SHOWN + 1  # and the heads
    assert "(4 others, of which more is found)" in out and "Note: a note." in out
    assert " tail   10    50 %        25 %               50 %          75 %" in out
    assert out.splitlines()[-1].startswith("Verdict: On this table 50 % of planted errors are found at 1 in 1,000; ")


def test_an_evaluation_obeys_no_name(capsys):
    """A column's or a path's name that would move the cursor is shown as an escape."""
    Reporter(LogFormat.plain).evaluation("m", found_on(["a\x1b[2J\nb", "[red]c"], "d\x1b[2J"), None)
    out = capsys.readouterr().out
    assert "\x1b[2J" not in out and r"a\x1b[2J\nb" in out and r"d\x1b[2J" in out and "[red]c" in out


def test_a_notebook_shows_a_summary():
    """Counts, the decision and the highest rows with their reasons; of no rows, without a table of them."""
    html = summary(1200, 2)._repr_html_()
    assert "1,200: 1,200 ok" in html and "rows that score above 9.5" in html and "2 (0.167%)" in html
    assert html.count("flow 1 (2) 100%") == 10 and html.count("<td style") > 40
    assert summary(0, 0, top=0)._repr_html_().count("<table>") == 1


def test_nothing_in_a_summary_is_more_than_text():
    """Names, values and reasons of a table stand in a notebook as they are, whatever they hold."""
    hostile = "<img src=x onerror=alert(1)>'\"\x1b[2J"
    row = TopRow({hostile: hostile}, 9.0, 0.001, True, [Reason(hostile, 1.0, hostile, hostile)])
    found = replace(summary(3, 1), top=[row], output=hostile, sql=hostile, alerts_sql=hostile, decision=hostile)
    html = found._repr_html_()
    assert "<img" not in html and "\x1b" not in html and html.count("&lt;img") >= 8
