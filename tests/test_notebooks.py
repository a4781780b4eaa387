"""Laws of the notebooks: they run from their text, and what their prose says is what they print.

None has outputs in the repository. A run is kept in ``out/notebooks`` until anything that it
follows from changes; the site shows the same.
"""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs" / "site"))

import nbformat  # noqa: E402
import notebook_pages  # noqa: E402

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What the cells of a notebook show, by their ids: text, and kinds of anything else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("OMP_NUM_THREADS", "1")
        folder = tmp_path_factory.mktemp("jupyter")
        for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
                     "MPLCONFIGDIR"):  # fmt: skip
            patch.setenv(name, str(folder / name.lower()))
        yield lambda name: shown(notebook_pages.executed(ROOT / "docs/notebooks" / f"{name}.ipynb"))


def shown(notebook):
    """Text and kinds of data, cell by cell."""
    return {
        cell.id: "".join(
            output.get("text", "") or " ".join(output.get("data", {})) + "\n"
            for output in cell.get("outputs", ())
        )
        for cell in notebook.cells
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    """What a reader sees was made by the version that they read about."""
    cells = nbformat.read(path, as_version=4).cells
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert cells[0].source.startswith("# ")


def test_there_are_three():
    """Each is tested below."""
    assert [path.stem for path in NOTEBOOKS] == ["first_circuit", "own_task", "wrong_circuit"]


@pytest.mark.slow
def test_the_first_circuit_is_small_and_does_not_decide(outputs):
    """As the prose of the notebook has it."""
    cells = outputs("first_circuit")
    assert "image/svg+xml" in cells["extract"]
    assert float(re.search(r"circuit +([\d.]+) nats", cells["losses"])[1]) < 0.2
    assert "grade C because of interchange" in cells["weakest"]
    assert "follows the circuit on 0.000" in cells["weakest"]
    assert "text/html" in cells["paths"]
    assert "out/for_while/report.pdf" in cells["report"]


@pytest.mark.slow
def test_the_wrong_circuit_is_caught(outputs):
    """The trap by three claims; the outweighed circuit by interchange, and then outgrown."""
    cells = outputs("wrong_circuit")
    assert "accuracy 1.00" in cells["compare-trap"]
    found, of_mechanism = map(int, re.findall(r"(\d+) (?:nodes|of them)", cells["compare-trap"]))
    assert of_mechanism <= found / 4
    failed = re.findall(r"^(\w+): ", cells["trap-fails"], re.MULTILINE)
    assert failed == ["necessary", "beats_controls", "follows_ood"]
    assert "prefers the wrong answer" in cells["trap-fails"]
    assert "grade F" in cells["trap-fails"]
    assert "grade C" in cells["outweighed"]
    assert "follows the circuit on 0.000" in cells["outweighed"]
    assert "grade B" in cells["trusted"]
    assert "follows the circuit on 1.000" in cells["trusted"]


@pytest.mark.slow
def test_trust_has_a_price_and_buys_the_answer(outputs):
    """The trusted circuit is larger, and the answer follows it; the smallest turns none."""
    cells = outputs("own_task")
    assert float(re.search(r"price of trust: ([\d.]+)", cells["extract"])[1]) > 1
    assert "smallest grade C because of interchange" in cells["validate"]
    follows = re.findall(r"follows the circuit on ([\d.]+)", cells["validate"])
    assert float(follows[0]) < 0.2
    assert float(follows[1]) > 0.8
    assert "image/png" in cells["plots"]


def test_a_cell_that_fails_is_an_error(tmp_path):
    """A planted failure: no page is made of a notebook that does not run."""
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(broken, tmp_path / "broken.ipynb")
    with pytest.raises(Exception, match="ZeroDivisionError"):
        notebook_pages.executed(tmp_path / "broken.ipynb", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_a_run_is_kept_until_something_changes(tmp_path):
    """The same notebook is not run twice; an edited one is."""
    path, kept = tmp_path / "n.ipynb", tmp_path / "kept"

    def printed(code):
        cell = nbformat.v4.new_code_cell(code, id="cell")
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
        return notebook_pages.executed(path, kept).cells[0].outputs[0].text

    code = "import pathlib; print(pathlib.Path.cwd())"  # an empty folder, another in each run
    assert printed(code) == printed(code) != printed(code + " ")
