"""A day's readings are scored by the project's Python API, in a process of the project's environment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, CronDataIntervalTimetable, task
from vae_anomaly_airflow import (
    CONFIG,
    DAY,
    DEFAULTS,
    ENVIRONMENT,
    LAKE,
    ON_CLOSED_GATE,
    PARAMS,
    RUN_ID,
    SCORED,
    publish,
)


@task.external_python(
    python=f"{ENVIRONMENT}/bin/python",
    expect_airflow=False,
    skip_on_exit_code=99,
    multiple_outputs=False,
    outlets=[SCORED],
    post_execute=publish,
)
def score(config: str, day: str, lake: str, own_id: str, on_closed_gate: str) -> dict[str, Any]:
    """Score a day; all that it needs is imported here, for it runs outside Airflow. What it returns is the XCom."""
    import logging
    import sys
    from datetime import date

    from vae_model import VaeAnomalyError, load_config
    from vae_model.spark import run
    from vae_model.spark.engines.session import session

    logging.basicConfig(level=logging.INFO)
    try:
        settings = load_config(config, parameters={"ds": date.fromisoformat(day), "lake": lake})
        with session(settings.engine, needs_delta=True) as spark:
            return run(spark, settings, own_id, train=False).to_json()
    except VaeAnomalyError as error:
        print(f"Error: {error}")
        is_skipped = error.exit_code == 3 and on_closed_gate == "skip"
        sys.exit(99 if is_skipped else error.exit_code)


with DAG(
    dag_id="readings_by_python",
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULTS,
    params=PARAMS,
):
    score(CONFIG, DAY, LAKE, RUN_ID, ON_CLOSED_GATE)
