"""Each week a new version of the model is trained, and taken into use if `train.accept_if` of the config agrees."""

from datetime import UTC, datetime

from airflow.sdk import DAG, CronTriggerTimetable
from vae_anomaly_airflow import DEFAULTS, MODEL, PARAMS, by_command

with DAG(
    dag_id="readings_training",
    schedule=CronTriggerTimetable("0 4 * * 0", timezone="UTC"),  # {{ ds }} is the day it runs: Sunday
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    params=PARAMS,
):
    by_command("train", MODEL)  # exit code 3: a version is there that was refused, and the one before stays in use
