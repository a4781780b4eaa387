"""The page: one file, the same bytes every time, and no stranger's string is markup in it."""

from __future__ import annotations

import base64
import doctest
import hashlib
import json
import re
import sys
from html.parser import HTMLParser

import pytest
from example_circuit import (
    empty_circuit,
    example_circuit,
    example_validation,
    random_circuit,
    tiny_circuit,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from random_explanation import random_explanation

from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.circuit.comparison import compare
from circuitkit.circuit.explanation import FILE, MOST_NODES, Adds, Explanation
from circuitkit.circuit.folder import REPORT_HTML
from circuitkit.cli import main
from circuitkit.errors import CircuitError, MismatchError, ReportError
from circuitkit.provenance import Named
from circuitkit.views import page_data, page_mechanism
from circuitkit.views.diagram import diagram
from circuitkit.views.page import page_html, write_page, write_pages
from circuitkit.views.page_data import script_json
from circuitkit.views.page_evidence import evidence, trust
from circuitkit.views.page_mechanism import mechanism, speaks_for
from circuitkit.views.page_svg import picture
from circuitkit.views.paths_diagram import paths_diagram
from circuitkit.views.reported import Reported
from circuitkit.views.svg import render
from circuitkit.views.trust_section import SCALE

HOSTILE = (
    *("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<!--", "]]>"),
    *(
        "\"'`",
        "&lt;b&gt;",
        "\n\r\t",
        "\u2028\u2029",
        "\u202eabc\u2066",
        "🙂",
        "\x00\x07",
        "{{ 7 }}",
    ),
    *("=cmd()", "#import", "javascript:alert(1)", "\\u003c", "中文"),
)

PICTURE = "data:image/svg+xml;base64,"

MEGABYTES_150 = 3 * 10**6


def shown(circuit: Circuit, **changes) -> Reported:
    """A circuit with everything that a folder can hold beside it."""
    fields = {
        "validation": example_validation(circuit),
        "explanation": random_explanation(circuit) if circuit.surroundings else None,
    }
    return Reported(circuit=circuit, **{**fields, **changes})


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open in ("script", "style"):
            self.texts.append((self._open, data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def data_of(html: str) -> list[dict]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


@pytest.fixture(scope="module")
def html() -> str:
    return page_html([shown(example_circuit())])


def saved(folder, circuit: Circuit, *, explain: bool = True):
    circuit.save(folder)
    if explain:
        random_explanation(circuit).save(folder)
    return folder


# -- one file ------------------------------------------------------------------------------------


def test_the_same_nouns_give_the_same_bytes(html):
    assert page_html([shown(example_circuit())]) == html


def test_the_sections_stand_in_their_order(html):
    """Task, mechanism, diagram, trust, nodes, attention, evidence, examples, ladder, origin."""
    heads = re.findall(r'<h[23] id="(?:c0-)?(\w+)(?:-title)?">', html)
    order = ["title", "how", "diagram", "trust", "nodes", "attention", "evidence", "examples"]
    assert heads == [*order, "ladder", "made", "legend"]


def test_nothing_is_asked_of_any_other_place(html):
    """No address outside the page; what refers to something refers to the page or to nothing."""
    elements = Elements(html)
    assert "http" not in html.replace("http-equiv", "")
    for _, attributes in elements.found:
        for name in ("src", "href", "xlink:href", "action", "srcset", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,", PICTURE))
    assert "@import" not in html
    assert "url(" not in html


def test_the_policy_allows_the_own_style_and_script_alone(html):
    """By their hashes: whatever else came into the page would not run."""
    elements = Elements(html)
    policy = next(m["content"] for m in elements.of("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; ")
    (_, style), (_, data), (_, script) = elements.texts
    for text, kind in ((style, "style"), (script, "script")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert json.loads(data)
    assert not any(
        name.startswith("on") or name == "style" for _, a in elements.found for name in a
    )


def test_no_id_is_given_twice():
    """Two diagrams in one page do not share ids."""
    both = page_html([shown(example_circuit()), shown(tiny_circuit())])
    ids = [a["id"] for _, a in Elements(both).found if "id" in a]
    assert len(set(ids)) == len(ids)


def test_a_page_of_150_nodes_is_small():
    """And one of 500 holds them all."""
    html = page_html([shown(random_circuit(150))])
    assert len(html.encode()) <= MEGABYTES_150
    large = page_html([shown(random_circuit(500, n_layer=8))])
    assert len(data_of(large)[0]["nodes"]) == 500
    assert len(large.encode()) <= MEGABYTES_150


# -- strangers' strings --------------------------------------------------------------------------


def hostile_page(text: str) -> str:
    """A page in which a string stands everywhere that a file can put one."""
    tokens = ("x", text, "y")
    circuit = example_circuit(
        around={"tokens_a": tokens, "tokens_b": ("x", "z", "y"), "answers": (text + "1", text),
                "question": text, "source": text},
        task=Named(name=text, sha256="1f" * 32), checkpoint=Named(name=text, sha256="c0" * 32),
    )  # fmt: skip
    explanation = random_explanation(circuit)
    first = explanation.examples[0]
    hops = [
        h.model_copy(update={"part": text, "nodes": (text,)}) for p in first.paths for h in p.hops
    ]
    paths = tuple(
        p.model_copy(update={"hops": tuple(hops[:1]), "channels": (text,)}) for p in first.paths
    )
    runs = {
        side: run.model_copy(update={"attention": {text: (0.5, 0.25, 0.25)}})
        for side, run in (("a", first.a), ("b", first.b))
    }
    noted = first.model_copy(
        update={
            "template": text,
            "paths": paths,
            "nodes": {**first.nodes, text: Adds(a=1, b=1)},
            **runs,
        }
    )
    validation = example_validation(circuit)
    findings = tuple(
        f.model_copy(update={"note": text, "unit": text, "threshold": text, "fooled_by": text})
        for f in validation.findings
    )
    return page_html([
        shown(circuit, validation=validation.model_copy(update={"findings": findings}),
              explanation=explanation.model_copy(update={"examples": (noted,)})),
    ])  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_no_string_becomes_an_element(text):
    """Scripts are ours alone: the data, then the script; no handler, no comment, no raw control."""
    html = hostile_page(text)
    elements = Elements(html)
    assert [a.get("type") for a in elements.of("script")] == ["application/json", None]
    assert {tag for tag, _ in elements.found}.isdisjoint({"iframe", "object", "embed"})
    assert [image["src"].startswith(PICTURE) for image in elements.of("img")] == [True]
    assert not any(name.startswith("on") for _, a in elements.found for name in a)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]", html)
    assert "<!--" not in html


def test_the_picture_of_the_paths_is_that_of_page_one():
    """As an image; a circuit without an explanation has none."""
    circuit = random_circuit(40)
    (image,) = Elements(page_html([shown(circuit)])).of("img")
    drawn = paths_diagram(circuit, random_explanation(circuit)).svg
    assert base64.b64decode(image["src"].removeprefix(PICTURE)).decode() == drawn
    assert Elements(page_html([shown(circuit, explanation=None)])).of("img") == []


@settings(max_examples=25)
@given(st.text(min_size=1, max_size=12).filter(lambda text: text not in ("x", "y", "z")))
def test_any_token_leaves_the_page_as_it_is(text):
    """The two scripts parse as before, and the data reads back."""
    html = hostile_page(text)
    assert len(Elements(html).of("script")) == 2
    assert set(data_of(html)[0]["nodes"]) == set(map(str, example_circuit().nodes))


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.none(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_the_data_reads_back_and_closes_no_element(data):
    text = script_json(data)
    assert json.loads(text) == data
    assert not set(text) & set("<>&\u2028\u2029")
    assert text.isascii()


def test_data_that_is_no_json_is_refused():
    """NaN is not JSON: a browser would refuse the whole page."""
    with pytest.raises(ValueError, match="Out of range float"):
        script_json([float("nan")])


@pytest.mark.parametrize("module", [page_data, page_mechanism])
def test_the_examples_of_docstrings_are_true(module):
    assert doctest.testmod(module).failed == 0


# -- what is missing is said ---------------------------------------------------------------------


def test_without_an_explanation_the_page_says_what_writes_it():
    """And shows the rest: pair, diagram, nodes, evidence; no slider, since nothing is measured."""
    html = page_html([shown(example_circuit(), explanation=None)])
    assert "<code>circuitkit validate DIR</code> writes it" in html
    assert not Elements(html).of("input")
    assert 'class="evidence"' in html
    assert len(re.findall("data-card=", html)) == example_circuit().n_nodes
    assert data_of(html)[0]["examples"][0]["a"]["activations"]


def test_of_a_circuit_too_large_to_be_explained_the_page_says_that():
    """No command is named: none writes the file."""
    html = page_html([shown(random_circuit(MOST_NODES + 1), explanation=None)])
    assert f"Circuits of more than {MOST_NODES} nodes are not explained." in html
    assert "writes it" not in html


@pytest.mark.parametrize(
    ("circuit", "said"),
    [
        (empty_circuit(), "Collapsed"),
        (example_circuit(surroundings=None), "This circuit has no example"),
        (example_circuit(outcome="target_missed"), "Target missed"),
    ],
    ids=["empty", "no surroundings", "target missed"],
)
def test_a_circuit_that_lacks_something_has_a_page(circuit, said):
    assert said in page_html([shown(circuit)])


def test_a_circuit_that_is_not_validated_says_so():
    html = page_html([shown(example_circuit(), validation=None)])
    assert "Not validated: nothing is known" in html
    assert "tests the claims" in html


def test_the_command_that_makes_it_again_makes_a_page(html):
    lines = re.search(r"<pre[^>]*>(.*?)</pre>", html, re.DOTALL)
    assert lines
    assert lines[1].split("\n")[-2:] == ["circuitkit report DIR --format html", ""]
    assert lines[1].count("circuitkit report") == 1


def test_no_circuit_is_refused():
    with pytest.raises(ReportError, match="got no circuit, expected at least one"):
        page_html([])


# -- the mechanism and the evidence --------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (1.0, 1.0, "A in a, B in b"),
        (-1.0, -1.0, "B in a, A in b (against the answer)"),
        (1.0, -1.0, "A in both"),
        (-1.0, 1.0, "B in both"),
        (1.0, 0.01, "A in a"),
        (0.01, -1.0, "A in b (against the answer)"),
        (0.0, 0.0, ""),
    ],
)
def test_a_contribution_speaks_for_an_answer(a, b, said):
    """A is the right answer of prompt a: speaking for it in b is speaking against b's."""
    assert speaks_for(Adds(a=a, b=b), "A", "B") == said


def test_the_lines_of_the_mechanism_and_the_rest_are_the_whole():
    """What the lines, the constant and the rest add is what all paths of the example add."""
    example = random_explanation(example_circuit()).examples[0]
    tokens = (*example.a.tokens, *example.b.tokens, example.a.answer, example.b.answer)
    said = mechanism(example, 2, {token: repr(token) for token in tokens})
    value = lambda text: float(text.split()[0].replace("−", "-"))  # noqa: E731
    whole = (
        sum(path.adds.both for path in example.paths) + example.constant.both + example.rest.both
    )
    parts = [*(line["adds"] for line in said["lines"]), said["constant"], said["rest"]]
    assert sum(map(value, parts)) == pytest.approx(whole, abs=0.05)
    assert len(said["lines"]) == 5
    assert said["n_others"] == 2


def test_trust_is_two_lines():
    """The grade in words with what is shown and what is not, then the weakest finding."""
    first, second = trust(example_validation(example_circuit()))
    assert first.startswith(f"Grade C ({SCALE}): sufficient and necessary")
    assert "it answers as the model does" in first
    assert second.startswith("Weakest finding, minimal: some nodes do not matter (0.710")
    assert len(trust(None)) == 1


def test_an_interval_is_drawn_where_it_lies():
    """On a line from 0 to 1, or further where the numbers go further."""
    circuit = example_circuit()
    rows = {row["claim"]: row for row in evidence(example_validation(circuit))}
    assert rows["faithful"]["plot"] == {
        "low": 94.1, "high": 97.8, "effect": 96.2, "start": "0.00", "end": "1.00"
    }  # fmt: skip
    assert rows["generalises"]["plot"]["start"] == "−0.01"
    assert rows["follows ood"]["plot"] is None


# -- the diagram ---------------------------------------------------------------------------------


def test_every_measured_line_of_the_diagram_has_its_number():
    """Weights, residual links, embeddings and unembeddings are looked up by the keys of `links`."""
    circuit = example_circuit()
    links = random_explanation(circuit).examples[0].links
    drawn = picture(render(diagram(circuit)), circuit, "p")
    kinds = {edge.kind for edge in drawn.edges if edge.key in links}
    assert kinds == {"weight", "residual", "token", "answer"}
    assert {edge.kind for edge in drawn.edges if edge.key not in links} <= {
        "stream",
        "query and key",
    }
    weights = {(e.source, e.target): e.weight for e in drawn.edges if e.kind == "weight"}
    assert weights == {(str(e.source), str(e.target)): e.weight for e in circuit.edges}


def test_the_diagram_keeps_every_node_and_no_link():
    circuit = example_circuit()
    drawn = picture(render(diagram(circuit)), circuit, "p")
    assert {str(node) for node in circuit.nodes} <= set(
        re.findall('data-node="([^"]*)"', drawn.markup)
    )
    assert "<a" not in drawn.markup.replace("<article", "")
    assert "xlink" not in drawn.markup
    assert "<title" not in drawn.markup


# -- several circuits ----------------------------------------------------------------------------


def test_two_circuits_stand_with_what_they_share():
    """In the numbers of `compare`."""
    first = example_circuit()
    second = example_circuit(example_names()[:-6], edges=(), seed=1)
    html = page_html([shown(first), shown(second)])
    found = compare(first, second)
    assert (
        f"{len(found.shared.nodes)} nodes and {len(found.shared.edges)} edges are in both" in html
    )
    assert f"{len(found.only_a.nodes)} nodes and {len(found.only_a.edges)} edges only in 1" in html
    assert "(one task, one checkpoint)" in html


def example_names() -> list[str]:
    return [str(node) for node in example_circuit().nodes]


def test_circuits_of_two_checkpoints_share_no_node():
    other = example_circuit(checkpoint=Named(name="other", sha256="d0" * 32))
    html = page_html([shown(example_circuit()), shown(other)])
    assert "nodes of two checkpoints are not the same nodes" in html
    assert "are in both" not in html


def test_of_three_circuits_two_are_shown_at_first():
    html = page_html([shown(example_circuit(seed=i)) for i in range(3)])
    hidden = ["hidden" in a for a in Elements(html).of("article")]
    assert hidden == [False, False, True]
    pressed = [a["aria-pressed"] for a in Elements(html).of("button") if "data-show" in a]
    assert pressed == ["true", "true", "false"]


# -- folders and the command line ----------------------------------------------------------------


def cli(*arguments) -> int:
    """The exit code of a command."""
    sys.argv = ["circuitkit", *map(str, arguments)]
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("name", ["validation", "explanation"])
def test_what_is_of_another_circuit_is_refused(tmp_path, name):
    """Numbers of one circuit are never shown on another; nothing is written."""
    circuit, other = example_circuit(), example_circuit(seed=1)
    circuit.save(tmp_path)
    noun = example_validation(other) if name == "validation" else random_explanation(other)
    noun.save(tmp_path)
    with pytest.raises(MismatchError, match=f"the {name} is of circuit .* Run 'circuitkit"):
        write_page(tmp_path)
    assert not (tmp_path / REPORT_HTML).exists()


def test_an_explanation_that_cannot_be_read_is_refused(tmp_path):
    example_circuit().save(tmp_path)
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(CircuitError, match="is not an explanation"):
        write_page(tmp_path)


def test_a_folder_without_a_circuit_is_refused(tmp_path):
    with pytest.raises(CircuitError, match="no such file"):
        write_pages(tmp_path / "page.html", [tmp_path])
    assert not (tmp_path / "page.html").exists()


def test_the_page_goes_with_its_circuit(tmp_path):
    """It was made from the circuit: another circuit in the folder takes it away."""
    write_page(saved(tmp_path, example_circuit()))
    assert (tmp_path / REPORT_HTML).exists()
    CircuitFolder(tmp_path).forget_other(example_circuit(seed=1))
    assert not (tmp_path / REPORT_HTML).exists()


def test_report_writes_a_page_into_each_folder(tmp_path, capsys):
    folders = [saved(tmp_path / name, example_circuit()) for name in ("one", "two")]
    assert cli("report", *folders, "--format", "html", "--json", "-q") == 0
    paths = [str(folder / REPORT_HTML) for folder in folders]
    assert json.loads(capsys.readouterr().out) == {"paths": paths}
    for folder in folders:
        assert (folder / REPORT_HTML).read_text().startswith("<!doctype html>")
        assert not (folder / "report.pdf").exists()


def test_report_writes_one_page_of_several_circuits(tmp_path, capsys):
    folders = [saved(tmp_path / name, example_circuit()) for name in ("one", "two")]
    out = tmp_path / "both.html"
    assert cli("report", *folders, "--format", "html", "--out", out, "-q") == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert len(Elements(out.read_text()).of("article")) == 2


@pytest.mark.parametrize(
    ("kind", "out", "said"),
    [
        ("html", ".", "is a folder; expected the name of an HTML file"),
        ("html", "all.pdf", "Add --format pdf, or choose a name that ends in .html"),
        ("pdf", "all.html", "Add --format html, or choose a name that ends in .pdf"),
    ],
)
def test_an_out_that_does_not_fit_the_format_is_refused(tmp_path, capsys, kind, out, said):
    folder = saved(tmp_path / "one", example_circuit())
    assert cli("report", folder, "--format", kind, "--out", tmp_path / out) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / out).is_file()


def test_a_file_that_was_read_back_gives_the_same_page(tmp_path):
    """What a folder holds is all that a page needs."""
    circuit = example_circuit()
    path = write_page(saved(tmp_path, circuit))
    read = Reported(
        circuit=circuit, explanation=Explanation.load(tmp_path),
        origin=CircuitFolder(tmp_path).origin,
    )  # fmt: skip
    assert path.read_text() == page_html([read])
