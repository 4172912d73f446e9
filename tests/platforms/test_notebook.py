"""The example notebook: it runs from top to bottom, and shows what it has found as tables and a page."""

from pathlib import Path

import pytest

from tests.conftest import clean_environment
from tests.report.conftest import Page

pytestmark = pytest.mark.platforms

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


def test_the_notebook_runs_and_shows_its_run(tmp_path):
    """It is kept without outputs. Run, its record, its summary with the recording error and its reason, and its report
    are shown as HTML, the report in a frame in which nothing runs; no cell fails.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=500, kernel_name="python3", resources=resources).execute(
        env=clean_environment()
    )
    shown = [one.data["text/html"] for cell in cells for one in cell.outputs if one.output_type == "execute_result"]
    _, record, summary, rows, frame = shown
    assert "succeeded" in record and "scoring" in record
    assert "wind_speed 1048.36 (" in summary and "The highest scores:" in summary
    assert "1048.36" in rows
    ((tag, attributes),) = Page(frame).tags
    assert (tag, attributes["sandbox"]) == ("iframe", "")
    inner = Page(attributes["srcdoc"])
    assert "flagged" in inner.by_section["head"] and "1048.36" in inner.by_section["alerts"]
    assert not any(tag in ("script", "iframe") for tag, _ in inner.tags)
