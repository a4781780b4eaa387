"""How nouns show themselves in a notebook: an SVG, or a short table in which all text is escaped.

In: a noun. Out: SVG or HTML. The nouns know these by name alone (``circuitkit.displays``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from circuitkit.circuit import Circuit
from circuitkit.circuit.explanation import Adds, Explanation, TokenPath
from circuitkit.findings import Finding, Validation
from circuitkit.task import Prompt, Split, Task
from circuitkit.task.pairs import SPLITS
from circuitkit.views.safe_text import number, prose, token_text

_N_PAIRS = 3


def circuit_svg(circuit: Circuit) -> str:
    """The diagram of a circuit, drawn by Graphviz as WebAssembly."""
    from circuitkit.views.diagram import diagram
    from circuitkit.views.svg import render

    return render(diagram(circuit))


def validation_html(validation: Validation) -> str:
    """The grade, what keeps it from a better one, and a row for every finding."""
    title = f"Grade {validation.grade}; what it is short of: {validation.short_of}"
    return panel(title, _FINDING_HEAD, map(_finding_row, validation.findings))


def finding_html(finding: Finding) -> str:
    """One claim: outcome, effect with its interval, threshold."""
    return panel(f"{finding.claim}: {finding.outcome}", _FINDING_HEAD, [_finding_row(finding)])


_FINDING_HEAD = ("claim", "outcome", "effect", "interval", "unit", "threshold", "note")


def _finding_row(finding: Finding) -> tuple[str, ...]:
    is_known = finding.low is not None and finding.high is not None
    interval = f"{number(finding.low)} to {number(finding.high)}" if is_known else "–"
    effect, note = number(finding.effect), prose(finding.note, 120)
    head = (finding.claim, finding.outcome, effect, interval)
    return (*head, prose(finding.unit), prose(finding.threshold, 80), note)


def explanation_html(explanation: Explanation) -> str:
    """The strongest paths of the example that a report shows, and what they leave."""
    shown = explanation.examples[0]
    rows = [(_path(path), *_adds(path.adds)) for path in shown.paths[:5]]
    more = [path.adds for path in shown.paths[5:]]
    weak = Adds(a=sum(x.a for x in more) + shown.rest.a, b=sum(x.b for x in more) + shown.rest.b)
    rows += [("the rest", *_adds(weak)), ("constants", *_adds(shown.constant))]
    whole = Adds(a=shown.a.logit_difference, b=shown.b.logit_difference)
    rows.append(("logit difference", *_adds(whole)))
    title = f"What adds to the logit difference, in nats ({len(explanation.nodes)} nodes)"
    return panel(title, ("path", "in a", "in b", "both"), rows)


def _adds(adds: Adds) -> tuple[str, str, str]:
    return number(adds.a, 2), number(adds.b, 2), number(adds.both, 2)


def _path(path: TokenPath) -> str:
    """A path from left to right: where it begins, what it goes through, where it ends."""
    texts = dict.fromkeys(t for t in (path.source.a, path.source.b) if t is not None)
    begin = " or ".join(token_text(text) for text in texts) or path.source.kind
    return " → ".join([begin, *(hop.part for hop in path.hops), ", ".join(path.channels[:3])])


def task_html(task: Task) -> str:
    """The question, and the first pairs of the first split that has any."""
    split: Split | None = next((s for s in SPLITS if task.templates(s)), None)
    pairs = task.up_to(split, _N_PAIRS)[:_N_PAIRS] if split else []
    title = f"{prose(task.name, 60)}: {prose(task.question)}"
    return panel(title, ("prompt a", "answer a", "prompt b", "answer b", "template"), [
        (*_side(pair.a), *_side(pair.b), prose(pair.template, 60)) for pair in pairs
    ])  # fmt: skip


def _side(side: Prompt) -> tuple[str, str]:
    prompt = " ".join(map(str, side.tokens)) if side.text is None and side.tokens else side.text
    return token_text(str(prompt), 120), token_text(str(side.answer))


def panel(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A titled table; every text in it is escaped."""
    lines = [f"<tr>{_cells('th', head)}</tr>", *(f"<tr>{_cells('td', row)}</tr>" for row in rows)]
    return f"<div><b>{escape(title)}</b><table>{''.join(lines)}</table></div>"


def _cells(tag: str, cells: Sequence[str]) -> str:
    style = ' style="text-align:left;white-space:pre-wrap"'
    return "".join(f"<{tag}{style}>{escape(cell)}</{tag}>" for cell in cells)
