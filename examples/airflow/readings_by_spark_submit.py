"""A day's readings are scored by spark-submit, on classic Spark.

`spark-submit` is on the worker's PATH, and jobs/ of the project beside this file, or where the Variable
vae_anomaly_jobs says. The connection spark_default has the master; the driver runs where the task does (client mode),
so that its record can be read.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from vae_anomaly_airflow import CONFIG, DAY, DEFAULTS, ENVIRONMENT, FOLDER, LAKE, PARAMS, RUN_ID, SCORED, publish

JOBS = f'{{{{ var.value.get("vae_anomaly_jobs", "{FOLDER / "jobs"}") }}}}'
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


class SubmitAndTell(SparkSubmitOperator):
    """spark-submit whose XCom is the run's record, by which it skips too: SparkSubmitOperator knows neither."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Submit the job. Where the record says that there was nothing to score, or that a gate is closed, skip."""
        with TemporaryDirectory() as folder:
            result = Path(folder) / "record.json"
            self.application_args = [*(self.application_args or []), "--result", str(result)]
            skips = ["skipped", "gated"] if context["params"]["on_closed_gate"] == "skip" else ["skipped"]
            try:
                super().execute(context)
            except AirflowException:
                record = json.loads(result.read_text()) if result.exists() else {}
                if record.get("status") in skips:
                    raise AirflowSkipException(record["message"]) from None
                raise
            return json.loads(result.read_text())


with DAG(
    dag_id="readings_by_spark_submit",
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=2,
    default_args=DEFAULTS,
    params=PARAMS,
):
    SubmitAndTell(
        task_id="score",
        application=f"{JOBS}/score.py",
        application_args=[
            "--config",
            CONFIG,
            "--param",
            f"ds={DAY}",
            "--param",
            f"lake:text={LAKE}",
            "--run-id",
            RUN_ID,
        ],
        packages="io.delta:delta-spark_4.2_2.13:4.4.0",  # or jars=…; neither where the cluster has Delta
        conf=DELTA,
        env_vars={"PYSPARK_PYTHON": f"{ENVIRONMENT}/bin/python"},
        name=RUN_ID,
        outlets=[SCORED],
        post_execute=publish,
    )
