"""The contract of the output columns as a suite of Great Expectations, and a scored Delta table held against it.

Run it with the table's path and the columns of its key: python contract.py scored/weather origin time_hour
It needs great-expectations>=1.9 and deltalake, and ends with exit code 1 where the contract is broken.
"""

import os
import sys
from typing import Any

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # it tells nobody that it was used

import great_expectations as gx
import great_expectations.expectations as gxe
from deltalake import DeltaTable
from great_expectations.expectations.row_conditions import Column

SCORED = ["ok", "unseen_segment", "unseen_category", "non_finite"]
NOT_SCORED = ["too_many_missing", "short_window"]
EITHER = ["unreadable_image"]


def contract(key: list[str], prefix: str = "") -> gx.ExpectationSuite:
    """The suite of a table with such a key, its output columns under ``output.prefix``."""
    error, score, p_value, flag, reasons, status, model, run = (
        f"{prefix}{name}"
        for name in ("reconstruction_error", "anomaly_score", "anomaly_p_value", "is_anomaly", "anomaly_reasons",
                     "anomaly_status", "anomaly_model", "anomaly_run")
    )  # fmt: skip
    rules = [
        *(gxe.ExpectColumnValuesToNotBeNull(column=name) for name in (*key, reasons, status, model, run)),
        gxe.ExpectCompoundColumnsToBeUnique(column_list=key)
        if len(key) > 1
        else gxe.ExpectColumnValuesToBeUnique(column=key[0]),
        gxe.ExpectColumnValuesToBeInSet(column=status, value_set=[*SCORED, *NOT_SCORED, *EITHER]),
        gxe.ExpectColumnValuesToBeBetween(column=error, min_value=0, max_value=1e300),
        gxe.ExpectColumnValuesToBeBetween(column=score, min_value=-1e-9, max_value=1e300),  # 0, but for roundings
        gxe.ExpectColumnValuesToBeBetween(column=p_value, min_value=0, strict_min=True, max_value=1),
        gxe.ExpectColumnValuesToMatchRegex(column=model, regex=r"^.+@[0-9a-f]{12}$"),
        # A score exactly where the status says so, and the other three where there is a score.
        gxe.ExpectColumnValuesToNotBeNull(column=score, row_condition=Column(status).is_in(SCORED)),
        gxe.ExpectColumnValuesToBeNull(column=score, row_condition=Column(status).is_in(NOT_SCORED)),
    ]
    for name in (error, p_value, flag):
        rules += [
            gxe.ExpectColumnValuesToNotBeNull(column=name, row_condition=Column(score).is_not_null()),
            gxe.ExpectColumnValuesToBeNull(column=name, row_condition=Column(score).is_null()),
        ]
    return gx.ExpectationSuite(name="contract", expectations=rules)


def check(frame: Any, suite: gx.ExpectationSuite) -> Any:
    """What Great Expectations finds of a pandas DataFrame."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    table = context.data_sources.add_pandas("tables").add_dataframe_asset("scored")
    batch = table.add_batch_definition_whole_dataframe("whole").get_batch({"dataframe": frame})
    return batch.validate(suite)


def main(path: str, *key: str) -> int:
    """Look at a Delta table, and say which rules are broken, by how many rows."""
    frame = DeltaTable(path).to_pyarrow_table().to_pandas()
    found = check(frame, contract(list(key)))
    for one in found.results:
        if not one.success:
            told = one.expectation_config.to_json_dict()
            print(f"broken: {told['type']} {told['kwargs']}: {one.result.get('unexpected_count')} rows")
    print(f"{len(frame)} rows, {sum(one.success for one in found.results)} of {len(found.results)} rules hold")
    return 0 if found.success else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
