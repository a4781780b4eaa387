"""A folded circuit as one Python file that needs NumPy alone.

In: the circuit and its folded numbers. Out: text. First what the program does and how exact it is,
then the function, one line for most nodes, then what the function calls, then the tables. Texts of
others stand only in comments and in the docstring, escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from circuitkit.circuit import Circuit
from circuitkit.circuit.folded_circuit import (
    Channel,
    FoldedCircuit,
    Keep,
    Look,
    Read,
    ReadRivals,
    Size,
    Step,
    Sum,
    SumRivals,
)
from circuitkit.views.program_about import about
from circuitkit.views.program_formulas import ANSWER, Formulas, block_of, wrapped
from circuitkit.views.program_helpers import HELPERS
from circuitkit.views.safe_text import token_text

_TABLES = ("TOKENS", "POSITIONS", "ANSWERS", "BIGRAMS", "EXAMPLES")
TOP_LEVEL = ("logit_difference", *HELPERS, *_TABLES)
"""The names that a program may define, beside its tables of rivals."""


def program_text(circuit: Circuit, folded: FoldedCircuit, digits: int = 17) -> str:
    """The program, its numbers with so many digits."""
    formulas = Formulas(digits)
    function = "\n".join(_function(folded, formulas))
    called = {name for name in HELPERS if f"{name}(" in function} | {"columns"}
    calls = [text for name, text in HELPERS.items() if name in called]
    imports = (
        "import math\n\nimport numpy as np" if "math." in "".join(calls) else "import numpy as np"
    )
    tables = "\n\n".join(_tables(folded, formulas))
    parts = (about(circuit, folded), imports, "", function, "", "\n\n\n".join(calls), "", tables)
    return "\n".join([*parts, "", _main(folded), ""])


def _function(folded: FoldedCircuit, formulas: Formulas) -> Iterator[str]:
    yield f"\ndef logit_difference({_parameters(folded)}):"
    yield '    """How much the circuit prefers answer to foil after these tokens, in nats."""'
    yield "    n = len(tokens)"
    if folded.token_columns:
        yield _columns(folded.token_columns, f"TOKENS, {_keys(folded)}")
    if folded.position_columns:
        yield _columns(folded.position_columns, "POSITIONS, range(n)")
    yield from _steps(folded, formulas)
    yield from _answer(folded, formulas)


def _steps(folded: FoldedCircuit, formulas: Formulas) -> Iterator[str]:
    """A line for each step, under a heading for each block."""
    block, inputs = "", ""
    for i, step in enumerate(folded.steps):
        following = (s for s in folded.steps[i:] if not isinstance(s, Channel))
        if (now := block_of(next(following, None))) != block:
            yield f"\n    # {now}"
        block = now
        if isinstance(step, SumRivals) and step.weights and formulas.inputs(step) != inputs:
            inputs = formulas.inputs(step)
            yield formulas.line("inputs", inputs)
        yield _assignment(step, folded, formulas)
    if block != ANSWER:
        yield f"\n    # {ANSWER}"


def _parameters(folded: FoldedCircuit) -> str:
    """With answers by default, where all prompts have the same two."""
    shown = folded.tried[folded.examples[0]]
    same = all({t.answer, t.foil} == {shown.answer, shown.foil} for t in folded.tried)
    return f"tokens, answer={shown.answer}, foil={shown.foil}" if same else "tokens, answer, foil"


def _keys(folded: FoldedCircuit) -> str:
    has_positions = any(len(key) > 1 for key in folded.tokens)
    return "list(zip(tokens, range(n)))" if has_positions else "tokens"


def _columns(names: tuple[str, ...], table: str) -> str:
    targets = ", ".join(names) + "," * (len(names) == 1)
    if len(targets) + len(table) > 75:
        return f"    (\n{wrapped(targets, 8)}\n    ) = columns({table})"
    return f"    {targets} = columns({table})"


def _assignment(step: Step, folded: FoldedCircuit, formulas: Formulas) -> str:
    match step:
        case Size():
            return formulas.size(step)
        case Channel():
            formula = formulas.channel(step)
        case Read():
            formula = formulas.read(step)
        case Sum():
            formula = formulas.sum(step)
        case Look():
            formula = formulas.look(step)
        case SumRivals():
            formula = formulas.sum_rivals(step)
        case ReadRivals():
            formula = formulas.read_rivals(step, _keys(folded))
        case Keep():
            formula = f"keep({step.name}, {step.limit})"
    return formulas.line(step.name, formula)


def _answer(folded: FoldedCircuit, formulas: Formulas) -> Iterator[str]:
    answers = folded.answers
    weights = [f"f{name.removeprefix('x')}" for name in answers.channels]
    names = [*weights, "constant", *(["mean"] if answers.mean else []), "added"]
    terms = [f"{w} * {x}[-1]" for w, x in zip(weights, answers.channels, strict=True)]
    end = "[-1]" if answers.channels else ""
    terms += ["constant", *([f"mean * {answers.mean}{end}"] if answers.mean else [])]
    yield formulas.line(", ".join(names), "np.subtract(*columns(ANSWERS, [answer, foil]).T)")
    read = " + ".join(terms)
    d = f"({read}) / {answers.size}{end} + added" if answers.size else f"{read} + added"
    yield formulas.line("d", d)
    if answers.bigrams:
        yield "    bigram = dict(zip(ANSWERS, columns(BIGRAMS, tokens[-1:])[:, 0]))"
        yield "    d = d + bigram[answer] - bigram[foil]"
    yield "    return float(d)\n"


def _tables(folded: FoldedCircuit, formulas: Formulas) -> Iterator[str]:
    texts = {key: _shown(folded, key) for key in folded.tokens}
    if folded.token_columns:
        yield _table("TOKENS", folded.token_columns, folded.tokens, texts, formulas)
    if folded.position_columns:
        rows = {(i,): row for i, row in enumerate(folded.positions)}
        yield _table("POSITIONS", folded.position_columns, rows, {}, formulas)
    for name, rows in folded.still.items():
        about_rows = ("magnitudes of channels that no kept node moves",)
        yield _table(name.upper(), about_rows, rows, texts, formulas)
    for step in folded.steps:
        if isinstance(step, SumRivals) and step.weights:
            yield "\n".join([
                f"{formulas.rivals_table(step)} = np.array([  # a constant, then a weight each",
                *(f"    {formulas.row(row)}," for row in step.weights), "])",
            ])  # fmt: skip
    answers = folded.answers
    names = (*answers.channels, "constant", *(["mean"] if answers.mean else []), "added")
    yield _table("ANSWERS", names, _keyed(answers.rows), _texts(folded, answers.rows), formulas)
    if answers.bigrams:
        names = tuple(map(str, answers.rows))
        rows = answers.bigrams
        yield _table("BIGRAMS", names, _keyed(rows), _texts(folded, rows), formulas)


def _keyed(rows: Mapping[int, tuple[float, ...]]) -> dict[tuple[int, ...], tuple[float, ...]]:
    return {(i,): row for i, row in rows.items()}


def _texts(folded: FoldedCircuit, ids: Iterable[int]) -> dict[tuple[int, ...], str]:
    return {(i,): _shown(folded, (i,)) for i in ids}


def _shown(folded: FoldedCircuit, key: tuple[int, ...]) -> str:
    return token_text(folded.texts[key[0]], 24)


def _table(
    name, columns: tuple[str, ...], rows: Mapping, texts: Mapping, formulas: Formulas
) -> str:
    lines = [f"{name} = {{  # {' '.join(columns)}"]
    for key, row in rows.items():
        shown = key[0] if len(key) == 1 else f"({key[0]}, {key[1]})"
        comment = f"  # {texts[key]}" if key in texts else ""
        lines.append(f"    {shown}: {formulas.row(row)},{comment}")
    return "\n".join([*lines, "}"])


def _main(folded: FoldedCircuit) -> str:
    lines = ["EXAMPLES = [  # tokens, answer, foil, the logit difference of the circuit itself"]
    for i in folded.examples:
        t = folded.tried[i]
        prompt = " ".join(token_text(folded.texts[token], 24) for token in t.tokens)
        lines.append(f"    # {prompt}")
        lines.append(f"    ({list(t.tokens)}, {t.answer}, {t.foil}, {t.difference:.12g}),")
    return "\n".join([*lines, "]", MAIN])


MAIN = """
if __name__ == "__main__":
    for tokens, answer, foil, own in EXAMPLES:
        d = logit_difference(tokens, answer, foil)
        same = "the same" if abs(d - own) < 1e-5 else "changed"
        print(f"d = {d:+.6f} nats for {answer} over {foil}; the circuit: {own:+.6f} ({same})")"""
