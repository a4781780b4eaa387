"""How a circuit comes to its answer, in lines: the strongest paths of an example, and what is left.

In: an example of an explanation. Out: strings and numbers for the page's template. A path's parts
stay apart, so that the template can set them; every token is a literal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from circuitkit.circuit.explanation import Adds, Example, Hop, Look, Run, TokenPath
from circuitkit.views.mechanism_section import N_PATHS, how_much
from circuitkit.views.safe_text import number, prose, signed

MAX_NAMED = 3
SLIGHT = 0.05

Literals = Mapping[str, str]


def mechanism(example: Example, n_constant: int, literals: Literals) -> dict[str, Any]:
    """The lines of an example, and a sentence on what they leave out."""
    whole = (example.a.logit_difference + example.b.logit_difference) / 2
    first, others = example.paths[:N_PATHS], example.paths[N_PATHS:]
    rest = sum(path.adds.both for path in others) + example.rest.both
    return {
        "lines": [_line(path, example, literals) for path in first],
        "whole": number(whole, 2),
        "said": how_much(example, first),
        "constant": adds_text(example.constant),
        "constant_for": _speaks(example.constant, example, literals),
        "n_constant": n_constant,
        "rest": signed(rest),
        "n_others": len(others),
    }


def adds_text(adds: Adds) -> str:
    """A contribution in words: the mean, then each prompt's."""
    return f"{signed(adds.both)} (a {signed(adds.a)}, b {signed(adds.b)})"


def _line(path: TokenPath, example: Example, literals: Literals) -> dict[str, Any]:
    source = path.source
    texts = [source.a, source.b] if source.a != source.b else [source.a]
    named = [prose(t, 40) if source.kind == "position" else literals[t] for t in texts if t]
    only = "" if None not in texts else f" in {'b' if source.a is None else 'a'} only"
    return {
        "kind": "" if source.kind == "token" else "position ",
        "source": named,
        "only": only,
        "hops": [_hop(hop, example, literals) for hop in path.hops],
        "channels": _some(path.channels),
        "speaks": _speaks(path.adds, example, literals),
        "adds": signed(path.adds.both),
        "a": signed(path.adds.a),
        "b": signed(path.adds.b),
    }


def _hop(hop: Hop, example: Example, literals: Literals) -> dict[str, Any]:
    looks = [_look(look, _run(example, look.prompt).tokens, literals) for look in hop.looks]
    return {"part": prose(hop.part, 40), "nodes": _some(hop.nodes), "looks": looks}


def _look(look: Look, tokens: Sequence[str], literals: Literals) -> dict[str, str]:
    at, seen = (literals[tokens[i]] if i < len(tokens) else "?" for i in (look.at, look.looks_at))
    share = f"{100 * look.attention:.0f} %"
    return {"at": at, "seen": seen, "share": share, "prompt": look.prompt}


def _some(names: Sequence[str]) -> dict[str, Any]:
    """The first names, and how many more there are."""
    return {
        "names": [prose(name, 60) for name in names[:MAX_NAMED]],
        "n_more": max(0, len(names) - MAX_NAMED),
    }


def _run(example: Example, prompt: str) -> Run:
    return example.a if prompt == "a" else example.b


def _speaks(adds: Adds, example: Example, literals: Literals) -> str:
    return speaks_for(adds, literals[example.a.answer], literals[example.b.answer])


def speaks_for(adds: Adds, answer_a: str, answer_b: str) -> str:
    """Which answer a contribution speaks for: the right one of both prompts, or one token.

    A prompt in which it is a twentieth of the other's is left out.
    """
    a, b = (0.0 if abs(one) < SLIGHT * abs(other) else one for one, other in
            ((adds.a, adds.b), (adds.b, adds.a)))  # fmt: skip
    in_a, in_b = (answer_a if a > 0 else answer_b), (answer_b if b > 0 else answer_a)
    if a and b and in_a == in_b:
        return f"{in_a} in both"
    said = [f"{token} in {name}" for token, name, size in ((in_a, "a", a), (in_b, "b", b)) if size]
    wrong = " (against the answer)" if a <= 0 and b <= 0 and said else ""
    return ", ".join(said) + wrong
