"""The command line: ``vae-anomaly validate | train | score | run | runs | init | inspect | models | evaluate |
report``.

Its exit codes are those of ``errors``.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from vae_model import __version__
from vae_model.config.config import Config
from vae_model.config.environment import BETWEEN, OURS
from vae_model.config.load import load_config
from vae_model.config.parameters import from_options
from vae_model.console.logs import LogFormat
from vae_model.console.reporter import Reporter, bare_page
from vae_model.errors import ConfigError, NothingToScore, VaeAnomalyError
from vae_model.places import files
from vae_model.printable import printable


class _Commands(TyperGroup):
    """The commands. What typer says of a wrong argument shows it, as every other message does."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Read the options before the command."""
        with _shown_usage():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's own options and run it."""
        with _shown_usage():
            return super().invoke(ctx)


@contextmanager
def _shown_usage() -> Iterator[None]:
    usage_error: type[Any] = typer.BadParameter.__mro__[1]  # typer has no name of its own for it
    try:
        yield
    except usage_error as error:  # the lines are typer's: its help is such a message too
        error.message = "\n".join(map(printable, error.message.split("\n")))
        raise


app = typer.Typer(
    name="vae-anomaly",
    cls=_Commands,
    help="Batch anomaly scoring: a VAE trained on normal rows, applied across a table.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it."""

ConfigOption = Annotated[str, typer.Option("--config", "-c", metavar="PATH", help="The config file (YAML).")]
SetOption = Annotated[
    list[str], typer.Option("--set", help="Override one key: dotted.key=value, the value in YAML. Repeatable.")
]
ParamOption = Annotated[
    list[str],
    typer.Option(
        "--param", help="Fill {{ name }} in the config: name=value, or name:type=value (date, timestamp, number, text)."
    ),
]
RunIdOption = Annotated[
    str | None,
    typer.Option("--run-id", metavar="ID", help="The run's id, such as a scheduler's; the same for each try."),
]
ResultOption = Annotated[
    str | None,
    typer.Option("--result", metavar="FILE", help="Write the run's record to this file, as one JSON document."),
]
ReportOption = Annotated[
    str | None,
    typer.Option("--report", metavar="FILE", help="Write a page that shows the run, whatever comes of it."),
]
TimeOption = Annotated[str | None, typer.Option("--time", metavar="COLUMN", help="Tell days of this column.")]
ByOption = Annotated[
    list[str], typer.Option("--by", metavar="COLUMN", help="Tell the segments of this column. Repeatable.")
]
FullOption = Annotated[bool, typer.Option("--full", help="Score everything anew, where the source is incremental.")]
LogOption = Annotated[LogFormat, typer.Option("--log", help="auto: for people on a terminal, plain lines elsewhere.")]


@app.command()
def validate(
    config: ConfigOption, set_: SetOption = [], param: ParamOption = [], log: LogOption = LogFormat.auto
) -> None:
    """Check config, source and model. Writes nothing."""
    reporter = Reporter(log)
    from vae_model.spark.jobs import validate as job

    settings = load_config(config, set_, from_options(param))
    with _session(settings) as spark:
        for line in job.validate(spark, settings):
            reporter.line(line)


@app.command()
def train(
    config: ConfigOption, set_: SetOption = [], param: ParamOption = [], run_id: RunIdOption = None,
    result: ResultOption = None, log: LogOption = LogFormat.auto,
) -> None:  # fmt: skip
    """Train on the normal rows of the source and write the model file."""
    _check_apart(config=config, result=result)
    run_job("train", config, set_, param, Reporter(log, result), run_id)


@app.command()
def score(
    config: ConfigOption, set_: SetOption = [], param: ParamOption = [], run_id: RunIdOption = None,
    full: FullOption = False, result: ResultOption = None, report: ReportOption = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Score a Delta table as it grows, on classic Spark; each batch is a run.")
    ] = False,
    trigger: Annotated[
        str | None, typer.Option("--trigger", metavar="WHEN", help='available-now (the default), or "1 minute".')
    ] = None,
    log: LogOption = LogFormat.auto,
) -> None:  # fmt: skip
    """Score the source with the model file and write the output."""
    _check_apart(config=config, result=result, report=report)
    if stream:
        if full or run_id is not None:
            raise ConfigError(
                "A stream reads what is new, and each of its batches is a run.",
                "no --full and no --run-id",
                "one of them",
            )
        run_stream(config, set_, param, trigger or "available-now", Reporter(log, result, report))
        return
    if trigger is not None:
        raise ConfigError("--trigger is of a stream.", "--stream", "no such option")
    run_job("score", config, set_, param, Reporter(log, result, report), run_id, full)


@app.command()
def run(
    config: ConfigOption, set_: SetOption = [], param: ParamOption = [], run_id: RunIdOption = None,
    full: FullOption = False, result: ResultOption = None, report: ReportOption = None,
    log: LogOption = LogFormat.auto,
) -> None:  # fmt: skip
    """Train, then score."""
    _check_apart(config=config, result=result, report=report)
    run_job("run", config, set_, param, Reporter(log, result, report), run_id, full)


@app.command()
def runs(
    config: ConfigOption, set_: SetOption = [], param: ParamOption = [],
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="So many of the latest runs.")] = 20,
    json_: Annotated[bool, typer.Option("--json", help="As JSON lines.")] = False,
) -> None:  # fmt: skip
    """Show the latest runs, as their records tell."""
    reporter = Reporter(LogFormat.auto)
    settings = load_config(config, set_, from_options(param))
    place = settings.runs_place
    if place is None:
        raise ConfigError("The config keeps no record of runs.", "output, or runs: {path: …}", "runs: none")
    if place.path is not None:  # files: no engine is needed
        from vae_model.runs.ledger import Folder

        reporter.runs(Folder(place.path).records()[:last], json_)
        return
    from vae_model.spark.sinks.runs_table import ledger

    with _session(settings) as spark:
        kept = ledger(spark, settings)
        reporter.runs(kept.records()[:last] if kept else [], json_)


@app.command()
def init(
    source: Annotated[str, typer.Option("--source", help="Path or table to look at.")],
    output: Annotated[str, typer.Option("--output", metavar="PATH", help="Config file to write.")],
    format_: Annotated[str | None, typer.Option("--format", help="Format of the files; guessed by default.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="auto, sail, spark or connect.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented starter config by looking at a table."""
    reporter = Reporter(LogFormat.auto)
    from vae_model.spark.jobs.init import named_source, starter_config

    if files.exists(output) and not force:
        raise ConfigError(f"{output} exists.", hint="Choose another --output, or give --force to overwrite it.")
    place = named_source(source, format_, engine)
    with _session(place) as spark:
        text = starter_config(spark, place)
    files.put(output, text.encode())
    reporter.line(f"Wrote {output}. Read it, edit it, then: vae-anomaly run --config {output}")


@app.command()
def inspect(model: Annotated[str, typer.Argument(help="The model file, or a folder of versions.")]) -> None:
    """Show all that a model file says of itself."""
    from vae_model.detector import Detector

    Reporter(LogFormat.auto).model(Detector.load(model))


@app.command()
def models(
    config: ConfigOption,
    set_: SetOption = [],
    param: ParamOption = [],
    promote: Annotated[
        str | None, typer.Option("--promote", metavar="VERSION", help="Use this version: its number or digest.")
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Use the version that was in use before.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the versions of the model, or choose the one in use."""
    reporter = Reporter(LogFormat.auto)
    settings = load_config(config, set_, from_options(param))
    from vae_model.detector import Detector
    from vae_model.runs import versions

    if promote is not None and rollback:
        raise ConfigError("--promote and --rollback are two things.", "one of them", "both")
    kept = versions.place(settings.for_model(), settings.model.version)
    if kept is None:
        raise ConfigError(
            f"model.path is one file: {settings.model.path}.",
            "a folder of versions, such as models/weather/",
            hint="`vae-anomaly inspect MODEL` shows a file.",
        )
    if promote is not None:
        chosen = kept.find(versions.named(promote))
        digest = Detector.load(f"{kept.folder}/", chosen.digits).header["sha256"]
        kept.promote(chosen, digest, "promoted by hand")
    elif rollback:
        if last := kept.previous():
            Detector.load(f"{kept.folder}/", last.digest)  # nothing comes into use that cannot be used
        kept.roll_back()
    found: list[tuple[versions.Version, Detector | VaeAnomalyError]] = []
    for version in kept.listed():
        try:
            found.append((version, Detector.load(f"{kept.folder}/", version.digits)))
        except VaeAnomalyError as error:
            found.append((version, error))
    reporter.models(kept, found, json_)


@app.command()
def evaluate(
    config: ConfigOption, set_: SetOption = [], param: ParamOption = [],
    label: Annotated[
        str | None, typer.Option("--label", metavar="COLUMN", help="A column that says which rows are anomalous.")
    ] = None,
    anomalous: Annotated[
        str | None, typer.Option("--anomalous", metavar="VALUE", help="The label's value that says so: 1, true.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", metavar="PATH", help="The model to evaluate, instead of the config's.")
    ] = None,
    what_if: Annotated[bool, typer.Option("--what-if", help="Count too what other decisions would flag.")] = False,
    time: TimeOption = None, by: ByOption = [],
    result: Annotated[
        str | None, typer.Option("--result", metavar="FILE", help="Write all of it to this file, as one JSON document.")
    ] = None,
    log: LogOption = LogFormat.auto,
) -> None:  # fmt: skip
    """Say what the model finds on the source: by a label, or of errors planted for it. Writes no rows."""
    _check_apart(config=config, result=result)
    reporter = Reporter(log, result)
    with reporter.recording("evaluate", None):
        if not what_if and (time is not None or by):
            raise ConfigError("--time and --by say what --what-if tells.", "--what-if", "no such option")
        if anomalous is not None and label is None:
            raise ConfigError("--anomalous is a value of --label.", "--label COLUMN", "no such option")
        settings = load_config(config, set_, from_options(param))
        settings.for_reading()
        from vae_model.detector import Detector
        from vae_model.evaluation import baselines
        from vae_model.spark.jobs import evaluate as job
        from vae_model.spark.jobs import what_if as counting

        baselines.check()
        given = job.stored(settings) if model is None else Detector.load(model)
        job.check_alone(settings, given)
        with _session(settings) as spark, reporter.progress() as display:
            count = partial(counting.what_if, spark, settings, time=time, by=by, tasks=display.tasks)
            counted = count(model=given) if what_if and given else None  # first: it may be asked of columns that lack
            found, detector = job.evaluate(
                spark, settings, label=label, anomalous=anomalous, model=given,
                progress=display.step, tasks=display.tasks,
            )  # fmt: skip
            if what_if and counted is None:
                counted = count(model=detector)
        reporter.evaluation(settings.name, found, counted)


@app.command()
def report(
    config: ConfigOption,
    output: Annotated[str, typer.Option("--output", metavar="FILE", help="The HTML file to write.")],
    set_: SetOption = [], param: ParamOption = [],
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="The run; by default the latest.")] = None,
    evaluation: Annotated[
        str | None, typer.Option("--evaluation", metavar="FILE", help="Show what evaluate --result has written.")
    ] = None,
    time: TimeOption = None, by: ByOption = [], log: LogOption = LogFormat.auto,
) -> None:  # fmt: skip
    """Write a page that shows a run: one HTML file that needs nothing beside itself."""
    _check_apart(config=config, output=output)
    _check_apart(evaluation=evaluation, output=output)
    reporter = Reporter(log, page=output)
    reporter.check_page()
    settings = load_config(config, set_, from_options(param))
    from vae_model.spark.jobs import report as job

    evaluated = job.evaluation_in(evaluation) if evaluation is not None else None
    with _session(settings) as spark:
        record = job.find(spark, settings, run)
        again = _again(record.command, config, set_, param)
        reporter.put_page(
            job.report(spark, settings, record=record, evaluation=evaluated, time=time, by=by, command=again)
        )


@app.command()
def views(
    config: ConfigOption,
    set_: SetOption = [], param: ParamOption = [],
    dialect: Annotated[str, typer.Option("--dialect", metavar="NAME", help="spark (and Sail) or duckdb.")] = "spark",
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="The file to write; by default they are printed.")
    ] = None,
) -> None:  # fmt: skip
    """Print views over the scored tables as SQL: alerts, reasons by column, rates by segment, runs."""
    _check_apart(config=config, output=output)
    settings = load_config(config, set_, from_options(param))
    from vae_model.report.views import sql

    text = sql(settings, dialect)
    if output is None:
        typer.echo(text, nl=False)
    else:
        files.put(output, text.encode())


@app.callback(invoke_without_command=True)
def version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    """Batch anomaly scoring: a VAE trained on normal rows, applied across a table."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def run_job(
    job: str,
    config: str,
    overrides: Sequence[str],
    parameters: Sequence[str],
    reporter: Reporter,
    run_id: str | None = None,
    full: bool = False,
) -> None:
    """``train``, ``score`` or ``run``: everything that can be checked is checked before an engine starts."""
    again = _again(job, config, overrides, parameters, full)
    reporter.tell = partial(bare_page, command=again)
    with reporter.recording(job, run_id):
        settings = load_config(config, overrides, from_options(parameters))
        needed = settings.for_training() if job == "train" else settings.for_run()[0]
        if job == "run":
            settings.for_training()
        from vae_model.detector import Detector

        model = None
        if job == "score" or (job == "run" and settings.model.is_pinned):
            model = Detector.load(needed.model_path, settings.model.version)
        with _session(settings) as spark:
            from vae_model.spark.jobs.report import report
            from vae_model.spark.jobs.run import run, run_training

            reporter.tell = lambda record: report(spark, settings, record=record, command=again)
            if job == "train":
                run_training(spark, settings, run_id, reporter)
            else:
                run(spark, settings, run_id, train=job == "run", full=full, listener=reporter, model=model)


def run_stream(
    config: str, overrides: Sequence[str], parameters: Sequence[str], trigger: str, reporter: Reporter
) -> None:
    """``score --stream``: everything that can be checked is checked before an engine starts."""
    again = _again("score", config, overrides, parameters)
    reporter.tell = partial(bare_page, command=again)
    with reporter.recording("score", None):
        settings = load_config(config, overrides, from_options(parameters))
        from vae_model.detector import Detector
        from vae_model.spark.jobs import stream as job
        from vae_model.spark.jobs.report import report

        needed, _ = settings.for_run()
        job.check(settings, trigger)
        model = Detector.load(needed.model_path, settings.model.version)
        with _session(settings) as spark:
            reporter.tell = lambda record: report(spark, settings, record=record, command=again)
            if not job.stream(spark, settings, model, trigger, reporter):
                raise NothingToScore("There is no row to score.", found=f"nothing new in {settings.source}")


def _again(job: str, config: str, overrides: Sequence[str], parameters: Sequence[str], full: bool = False) -> str:
    """The command that does a run again, for a shell; and which variables of the environment set keys of the config."""
    options = [("--set", one) for one in overrides] + [("--param", one) for one in parameters]
    words = ["vae-anomaly", job, "--config", config, *(part for option in options for part in option)]
    command = shlex.join([*words, *(["--full"] if full else [])])
    variables = [printable(name) for name in sorted(os.environ) if name.startswith(OURS + BETWEEN)]
    return f"# where these are set: {', '.join(variables)}\n{command}" if variables else command


def _check_apart(**files_: str | None) -> None:
    """Raise ConfigError where two options name one file, of which one would overwrite the other."""
    seen: dict[str, str] = {}
    for name, file in files_.items():
        if file is None:
            continue
        place = file if "://" in file else os.path.realpath(file)
        if place in seen:
            raise ConfigError(
                f"{seen[place]} and --{name} are one file: {file}.", "a file for each", hint=f"Choose another --{name}."
            )
        seen[place] = f"--{name}"


def _session(settings: Config) -> Any:
    from vae_model.spark.engines.session import session

    tables = [place for place in (settings.source, settings.output, settings.alerts) if place]
    needs_delta = any(place.format == "delta" for place in tables)
    needs_s3 = any(place.path and files.protocol(place.path) == "s3" for place in tables)
    return session(settings.engine, needs_delta, needs_s3)


def guarded(command: Callable[[], object]) -> int:
    """Run a command and return its exit code; errors of ours become a message, never a stack trace."""
    try:
        with _termination_interrupts():
            command()
    except VaeAnomalyError as error:
        word = "Error (try again)" if error.transient else "Error"
        Console(stderr=True, soft_wrap=True, force_jupyter=False).print(Text(f"{word}: {error}"), style="red")
        return error.exit_code
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extras = {"torch": "train", "pysail": "sail", "pyspark": "sail", "delta": "spark", "sklearn": "evaluate",
                  "jinja2": "report", "PIL": "image",
                  "mlflow": "mlflow", "openlineage": "openlineage"}  # fmt: skip
        if package not in extras:
            raise
        print(
            f"Error: {package} is not installed.\n  to do: pip install 'spark-vae-anomaly[{extras[package]}]'",
            file=sys.stderr,
        )
        return 2
    except SystemExit as exit_:  # typer's own end: after --help, a wrong option, Ctrl-C
        code = exit_.code if isinstance(exit_.code, int) else 0
        if code == INTERRUPTED:
            print("Interrupted: the engine's work was cancelled. What was not whole yet is as it was.", file=sys.stderr)
        return code
    return 0


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """SIGTERM, by which schedulers stop a job, ends it as Ctrl-C does: work cancelled, nothing half-written left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt by the handler of Ctrl-C; even where that is ignored, as in jobs that a script starts beside itself."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.default_int_handler(number, frame)
    signal.raise_signal(signal.SIGINT)


def main(arguments: list[str] | None = None) -> None:
    """The entry point of ``vae-anomaly`` and of the spark-submit jobs."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name in letters that the terminal has not is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        code = guarded(lambda: app(arguments))
    except Exception:  # nobody expected it: the whole stack, in which an engine's text is shown too
        lines = traceback.format_exc().splitlines()
        print("Unexpected failure:", *(f"  {printable(line)}" for line in lines), sep="\n", file=sys.stderr)
        code = VaeAnomalyError.code
    if code:  # some platforms take any SystemExit for a failure
        sys.exit(code)


if __name__ == "__main__":
    main()
