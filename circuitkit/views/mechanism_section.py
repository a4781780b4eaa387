"""How a circuit comes to its answer, in five lines of data that add up to the logit difference.

In: an example of an explanation. Out: rows for the strongest paths, for what does not depend on
the tokens and for the rest, each with what it adds in prompt a and in prompt b.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from circuitkit.circuit.explanation import (
    Adds,
    Example,
    Explanation,
    Hop,
    Look,
    TokenPath,
    TokenSource,
)
from circuitkit.views.answer_colours import push, size, total
from circuitkit.views.flows import least_shown
from circuitkit.views.head_looks import token_at
from circuitkit.views.safe_text import number, prose, signed, token_text

N_PATHS = 5
GATED = 0.25
"""A path from one token in both prompts is gated where it adds less than this share in one."""

LEAST = 0.01
"""Of the first paths, one that adds less than this share of the logit difference is no line."""


def mechanism(explanation: Explanation) -> dict[str, Any]:
    """The rows, their sum, and how much of the logit difference the lines explain."""
    example = explanation.examples[0]
    least = least_shown(example, LEAST)
    first, later = example.paths[:N_PATHS], example.paths[N_PATHS:]
    shown = [path for path in first if size(path.adds) >= least]
    more = [*(path for path in first if size(path.adds) < least), *later]
    rest = total([example.rest, *(path.adds for path in more)])
    whole = Adds(a=example.a.logit_difference, b=example.b.logit_difference)
    return {
        "rows": [
            *(_row(_path(example, path), path.adds, push(path.adds)) for path in shown),
            _row(_constants(explanation), example.constant, "none"),
            _row([_rest(len(more))], rest, "none"),
        ],
        "sum": _numbers(whole),
        "said": how_much(example, shown),
    }


def _row(steps: list[str], adds: Adds, which: str) -> dict[str, Any]:
    return {"steps": steps, "adds": _numbers(adds), "push": which}


def _numbers(adds: Adds) -> list[str]:
    return [signed(adds.a), signed(adds.b)]


def _path(example: Example, path: TokenPath) -> list[str]:
    hops = [_hop(example, path.source, hop) for hop in path.hops]
    if path.hops and _is_gated(path):
        hops[-1] += _gates(example, path.hops[-1])
    channels = [_channels(path)] if path.channels else []
    return [source_text(path.source, path.adds), *hops, *channels, _end(example, path.adds)]


def _is_gated(path: TokenPath) -> bool:
    """Whether the same token adds in one prompt and next to nothing in the other."""
    less, more = sorted((abs(path.adds.a), abs(path.adds.b)))
    return path.source.a == path.source.b and less < GATED * more


def _gates(example: Example, hop: Hop) -> str:
    """What the first of its neurons are at the last token: what tells the prompts apart."""
    neurons = [name for name in hop.nodes if ".post_act:" in name][:2]
    said = [
        f"{name.rpartition(':')[2]} is "
        + " and ".join(f"{number(run.activations[name][-1], 2)} in {side}" for side, run in runs)
        for name in neurons
        for runs in [(("a", example.a), ("b", example.b))]
        if all(name in run.activations for _, run in runs)
    ]
    return f", where {', '.join(said)}" if said else ""


def source_text(source: TokenSource, adds: Adds) -> str:
    """A source in words: its token; where the prompts differ, of the prompt in which it adds."""
    if source.kind == "position":
        return f"position {min(source.a_at or source.b_at or (0,))} (from 0)"
    if source.a == source.b:
        return f"token {token_text(source.a or '')}"
    least = size(adds) / 10
    sides = (("a", source.a, adds.a), ("b", source.b, adds.b))
    named = [f"{token_text(text)} in {side}" for side, text, x in sides if text and abs(x) >= least]
    return f"token {' and '.join(named)}"


def _hop(example: Example, source: TokenSource, hop: Hop) -> str:
    part = prose(hop.part, 30)
    if not hop.looks:
        neurons = [name.rpartition(":")[2] for name in hop.nodes if ".post_act:" in name]
        return f"{part} (neuron{'s' * (len(neurons) > 1)} {_list(neurons)})" if neurons else part
    shares: dict[str, list[str]] = {}
    for look in hop.looks:
        said = shares.setdefault(_look(example, source, look), [])
        of = "" if said else " of its attention"
        said.append(f"{look.attention:.2f}{of} in {look.prompt}")
    looks = (f"from {ends}, {' and '.join(said)}" for ends, said in shares.items())
    return f"{part} (looks {'; '.join(looks)})"


def _look(example: Example, source: TokenSource, look: Look) -> str:
    """From which token a head looks at which: "it" is where the path begins."""
    places = source.a_at if look.prompt == "a" else source.b_at
    at = token_at(example, look.prompt, look.at)
    seen = "it" if look.looks_at in places else token_at(example, look.prompt, look.looks_at)
    return f"{at} at {seen}"


def _channels(path: TokenPath) -> str:
    channels = [name.rpartition(":")[2] for name in path.channels]
    return f"channel{'s' * (len(channels) > 1)} {_list(channels)}"


def _list(names: list[str], limit: int = 3) -> str:
    """Some names; of many the first, and how many more there are."""
    shown = ", ".join(prose(name, 20) for name in names[:limit])
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _end(example: Example, adds: Adds) -> str:
    """The answer that a path pushes for."""
    a, b = token_text(example.a.answer), token_text(example.b.answer)
    return {
        "a": f"{a} over {b}",
        "b": f"{b} over {a}",
        "right": "the right answer in both",
        "wrong": "the wrong answer in both",
    }[push(adds)]


def _constants(explanation: Explanation) -> list[str]:
    n = sum(note.role == "constant" for note in explanation.nodes.values())
    nodes = f"; {n} node{'s are' if n != 1 else ' is'} the same in both" if n else ""
    example = explanation.examples[0]
    matters = size(example.constant) >= 0.01
    end = [_end(example, example.constant)] if matters else []
    return [f"From no token (biases, means{nodes})", *end]


def _rest(n_more: int) -> str:
    if not n_more:
        return "The rest: what no path explains"
    weaker = "a weaker path" if n_more == 1 else f"{n_more} weaker paths"
    return f"The rest: {weaker}, and what no path explains"


def how_much(example: Example, shown: Sequence[TokenPath]) -> str:
    """How much of the logit difference some lines explain, and how far off they are."""
    whole = (example.a.logit_difference + example.b.logit_difference) / 2
    if not shown or not whole:
        return "No path from a token is known: the lines explain nothing of the logit difference."
    lines = "The line adds" if len(shown) == 1 else f"The first {len(shown)} lines add"
    added = sum(path.adds.both for path in shown)
    off, with_constant = (
        round(100 * abs((whole - x) / whole)) for x in (added, added + example.constant.both)
    )
    also = f", {with_constant} % with what comes from no token" if with_constant != off else ""
    return (
        f"{lines} up to {signed(added)} nats, of {number(whole, 2)} nats of logit difference "
        f"(means of a and b): {off} % off{also}."
    )
