"""examples/great_expectations on a table that was scored for real, and on a copy of it that breaks the contract."""

import runpy

import pyarrow as pa
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.platforms
EXAMPLE = ROOT / "examples" / "great_expectations" / "contract.py"


@pytest.mark.filterwarnings("ignore")  # of Great Expectations' own code: it is not ours to mend
def test_the_contract_holds_and_its_breaks_are_found(two_days, tmp_path, monkeypatch, capsys):
    """All rules hold on what the job has written; of a copy in which each is broken once, each is said to be broken."""
    import deltalake

    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "false")  # and back again: the example sets it itself
    main = runpy.run_path(str(EXAMPLE))["main"]
    assert main(str(two_days / "scored"), "id", "day") == 0
    assert "80 rows, 20 of 20 rules hold" in capsys.readouterr().out

    rows = deltalake.DeltaTable(str(two_days / "scored")).to_pyarrow_table()
    plants = [
        ("anomaly_status", "fine"), ("anomaly_status", None), ("anomaly_p_value", 1.5), ("anomaly_score", float("inf")),
        ("reconstruction_error", -1.0), ("anomaly_model", "no digest"), ("anomaly_model", None), ("anomaly_run", None),
        ("anomaly_reasons", None), ("day", None), ("id", None), ("anomaly_score", None), ("reconstruction_error", None),
        ("anomaly_p_value", None), ("is_anomaly", None),
    ]  # fmt: skip
    records = sorted(rows.to_pylist(), key=lambda row: row["anomaly_score"] is None)
    unscored = [row for row in records if row["anomaly_score"] is None]
    assert len(unscored) == 2
    for record, (column, value) in zip(records, plants, strict=False):
        record[column] = value
    unscored[0] |= {"anomaly_score": 1.0}
    unscored[1] |= {"reconstruction_error": 1.0, "anomaly_p_value": 0.5, "is_anomaly": False}
    records.append(records[40])
    schema = pa.schema([field.with_nullable(True) for field in rows.schema])
    deltalake.write_deltalake(str(tmp_path / "broken"), pa.Table.from_pylist(records, schema))
    assert main(str(tmp_path / "broken"), "id", "day") == 1
    told = capsys.readouterr().out
    assert "81 rows, 0 of 20 rules hold" in told, told
