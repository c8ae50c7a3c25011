"""The notebook of the guides runs, and does what it says."""

import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

from sparl.exporters import compiler

NOTEBOOK = Path(__file__).parents[2] / "docs" / "guides" / "notebook.ipynb"


def texts(cell) -> str:
    """What a cell shows as text."""
    return "".join(o.get("text") or o["data"].get("text/plain", "") for o in cell.outputs)


@pytest.mark.skipif(not (compiler() and shutil.which("make")), reason="needs make and a C compiler")
def test_the_notebook_trains_distils_and_exports(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [texts(cell) for cell in cells]
    assert all(shown) and "runs/notebook" in shown[0]  # it is kept with what it shows
    for cell in cells:
        cell.outputs = []
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    trained, student, tested = (texts(cells[i]) for i in (1, 5, 7))
    assert float(trained) > 400
    assert "40 weights return" in student
    assert "8 of 8 observations agree" in tested
    assert (tmp_path / "runs/notebook-student/export/c-int8/policy.c").exists()
