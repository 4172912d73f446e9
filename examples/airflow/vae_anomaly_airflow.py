"""What the DAGs beside it share: where things are, what an exit code means to Airflow, and what a run leaves there.

Airflow's own environment has neither this project nor Spark: jobs run in an environment of their own. Where it is, and
where the tables are, Airflow Variables say (or environment variables, such as AIRFLOW_VAR_VAE_ANOMALY_LAKE).
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, Param, RetryDecision, RetryPolicy

FOLDER = Path(__file__).resolve().parent
CONFIG = str(FOLDER / "readings.yaml")

# Filled in when a task runs, never when a DAG is read.
ENVIRONMENT = '{{ var.value.get("vae_anomaly_environment", "/opt/vae-anomaly") }}'
"""The virtual environment that has the project, by default /opt/vae-anomaly."""
LAKE = '{{ var.value.get("vae_anomaly_lake", "/srv/lake") }}'
"""Where tables and models are: ``lake`` in the config; a folder, or s3://bucket/folder."""
DAY = "{{ ds }}"
RUN_ID = "{{ dag.dag_id }}.{{ run_id }}"
"""The same for each try of a task. It becomes the rows' ``anomaly_run``."""
ON_CLOSED_GATE = "{{ params.on_closed_gate }}"

SCORED = Asset("readings_scored")
MODEL = Asset("readings_model")

PARAMS = {
    "on_closed_gate": Param("fail", enum=["fail", "skip"], description="What a task does whose run a gate has stopped")
}


class UnlessInVain(RetryPolicy):
    """Leaves the retries to Airflow, but for exit codes 2 and 3, which each try of the same run ends with."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> RetryDecision:
        """Read the exit code from what an operator raised. Where it has none, Airflow decides."""
        found = re.search(r"(?:exit code|exit status|Error code is:) (\d+)", str(exception))
        code = int(found[1]) if found else None
        if code == 2:
            return RetryDecision.fail("Exit code 2: config, input or model are not usable as they are")
        if code == 3:
            return RetryDecision.fail("Exit code 3: a gate is closed, or the new version was refused")
        return RetryDecision.default()


DEFAULTS = {
    "retries": 4,
    "retry_delay": timedelta(minutes=5),
    "retry_policy": UnlessInVain(),  # Airflow 3.3 and later; without it every failure is tried again
}


def publish(context: Any, record: dict[str, Any]) -> None:
    """Give the record of a run that went well to the assets that its task makes, as what is known of the event."""
    for asset in context["task"].outlets:
        context["outlet_events"][asset].extra = record


COMMAND = """
"$ENVIRONMENT/bin/vae-anomaly" "$JOB" --config "$CONFIG" --param ds="$DAY" --param lake:text="$LAKE" \\
    --run-id "$RUN_ID" --result record.json
code=$?
if [ "$code" = 3 ] && [ "$ON_CLOSED_GATE" = skip ]; then code=99; fi
if [ -s record.json ]; then tr -d '\\n' <record.json; echo; fi
exit "$code"
"""
"""A job by the command line. Its last line is the run's record; 99 is what BashOperator skips a task by."""


def by_command(job: str, asset: Asset) -> BashOperator:
    """Make the task that runs ``vae-anomaly train`` or ``score``; its XCom is the run's record."""
    return BashOperator(
        task_id=job,
        bash_command=COMMAND,
        env={
            "JOB": job,
            "CONFIG": CONFIG,
            "ENVIRONMENT": ENVIRONMENT,
            "LAKE": LAKE,
            "DAY": DAY,
            "RUN_ID": RUN_ID,
            "ON_CLOSED_GATE": ON_CLOSED_GATE,
        },
        append_env=True,
        skip_on_exit_code=99,
        output_processor=json.loads,
        outlets=[asset],
        post_execute=publish,
    )
