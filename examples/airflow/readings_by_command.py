"""A day's readings are scored by the command line, on the embedded engine: nothing but the project's environment."""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronDataIntervalTimetable
from vae_anomaly_airflow import DEFAULTS, PARAMS, SCORED, by_command

with DAG(
    dag_id="readings_by_command",
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),  # {{ ds }} is the day that is over
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULTS,
    params=PARAMS,
):
    by_command("score", SCORED)
