"""What an output holds after a job, and what lies beside it."""

import hashlib
import json
from collections import Counter

from vae_model.runs.ledger import Folder
from vae_model.spark.sinks.reading import existing


def digest(table):
    """SHA-256 of all rows and columns of an Arrow table, whatever their order."""
    names = sorted(table.column_names)
    rows = sorted(repr([row[name] for name in names]) for row in table.select(names).to_pylist())
    return hashlib.sha256("\n".join([repr(names), *rows]).encode()).hexdigest()


def state(spark, config):
    """What an output holds: a digest of it, its rows by run, how many keys stand twice; the alerts, and the rows
    that are flagged, by run and key; the records of runs.
    """
    there = existing(spark, config.output)
    found = {"digest": None, "rows": {}, "doubled": 0}
    if there is not None:
        table = there.toArrow()
        keys = Counter(table["id"].to_pylist())
        found = {
            "digest": digest(table),
            "rows": dict(Counter(table["anomaly_run"].to_pylist())),
            "doubled": sum(times > 1 for times in keys.values()),
        }
    alerts = existing(spark, config.alerts_output) if config.alerts_output else None
    if alerts is not None and there is not None:
        flagged = table.filter(table["is_anomaly"])
        for name, rows in (("alerts", alerts.toArrow()), ("flagged", flagged)):
            found[name] = sorted([row["anomaly_run"], row["id"]] for row in rows.to_pylist())
    records = Folder(config.runs_place.path).records() if config.runs_place else []
    return found | {"records": sorted([record.run_id, record.status] for record in records)}


def leftovers(job):
    """What lies in and beside an output, put there by jobs, that neither rows nor their last stamp nor records are."""
    beside = [path.name for path in job.folder.iterdir() if path.name not in ("out", "out_runs", "alerts")]
    inside = [path.name for table in ("out", "alerts") for path in (job.folder / table).rglob("*vae_anomaly*")]
    records = [path.name for path in (job.folder / "out_runs").iterdir() if path.name.startswith(".")]
    return sorted({*beside, *inside, *records} - {"_vae_anomaly.json"})


def tell(title, outcomes):
    """Print how often each outcome was seen."""
    counted = Counter(json.dumps(outcome, sort_keys=True) for outcome in outcomes)
    print(f"\n{title}: " + ", ".join(f"{times} x {outcome}" for outcome, times in counted.items()))
