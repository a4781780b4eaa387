"""What flows through every node and link of a circuit, in one prompt.

In: the run of a prompt. Out: what it adds to the logit difference, by node and by link: the sum
over all paths through it. Nodes that only decide where heads look are on no path: they have what
is lost without them, and their links shares of it. Source: ours (docs/reports.md#contributions).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from circuitkit.explaining.circuit_parts import Array
from circuitkit.explaining.prompt_run import PromptRun
from circuitkit.explaining.sensitivity import (
    at_answer,
    back,
    from_inputs,
)
from circuitkit.nodes import FINAL_RESID, Node, Site

ANSWER = "answer"


@dataclass(slots=True)
class Flows:
    """By node, by link ``SOURCE>TARGET``, and all that tokens and positions add.

    ``alone`` are the nodes on no path; ``sizes`` has the links of every target without sign and
    without regard to the answer.
    """

    nodes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    links: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    sizes: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    total: float = 0.0
    alone: set[str] = field(default_factory=set)


def measure_flows(run: PromptRun, texts: Sequence[str]) -> Flows:
    """Everything that reaches the answer, from the last layer to the first."""
    flows, stream = Flows(), at_answer(run)
    direct = from_inputs(run, FINAL_RESID, stream[:, run.parts.kept[FINAL_RESID]])
    flows.total = run.from_bigram_table + float(direct.tokens.sum() + direct.positions.sum())
    if run.from_bigram_table:
        flows.links[f"token:{texts[run.last]}>{ANSWER}"] = run.from_bigram_table
    _add_read(flows, run, texts, FINAL_RESID, stream[:, run.parts.kept[FINAL_RESID]])
    for node, value in _by_node(run, FINAL_RESID, stream[:, run.parts.kept[FINAL_RESID]]):
        flows.links[f"{node}>{ANSWER}"] = value
    for block in _blocks(run):
        before = stream.copy()
        at: dict[Site, Array] = {}
        for part in block:
            found = back(run, part, stream)
            before = before + found.stream
            flows.total += float(found.tokens.sum() + found.positions.sum())
            for site, sensitive in found.sites.items():
                is_shared = site.place == "resid_delta"
                at[site] = sensitive if is_shared else at.get(site, 0) + sensitive
        for site, sensitive in sorted(at.items(), reverse=True):
            _add_site(flows, run, texts, site, sensitive)
        stream = before
    return flows


def _blocks(run: PromptRun):
    """The parts in reverse order, those that do not read each other together."""
    blocks: dict[tuple[int, str], list] = defaultdict(list)
    for part in run.parts.parts:
        blocks[part.layer, part.block].append(part)
    return [blocks[key] for key in sorted(blocks, reverse=True)]


def _add_site(
    flows: Flows, run: PromptRun, texts: Sequence[str], site: Site, at: Float[Array, "seq kept"]
) -> None:
    for node, value in _by_node(run, site, at):
        flows.nodes[node] = value
    if site.place == "act_in":
        _add_read(flows, run, texts, site, at)
    else:
        source = run.parts.source(site)
        _add_links(flows, run, site, source, at)


def _by_node(run: PromptRun, site: Site, at: Array) -> list[tuple[str, float]]:
    flow = (at * run.changes[site]).sum(0)
    return [
        (str(Node(site, int(c))), float(x)) for c, x in zip(run.parts.kept[site], flow, strict=True)
    ]


def _add_links(
    flows: Flows, run: PromptRun, site: Site, source: Site, at: Float[Array, "seq kept"]
) -> None:
    """Of a linear map: from every kept input to every kept output."""
    inputs = run.parts.kept[source]
    added = run.added(site)[:, :, : len(inputs)] * run.slopes[site][:, :, None]
    signed, size = (added * at[:, :, None]).sum(0), np.abs(added).sum(0)
    for i, j in zip(*np.nonzero(size), strict=True):
        target = str(Node(site, int(run.parts.kept[site][i])))
        begin = str(Node(source, int(inputs[j])))
        flows.links[f"{begin}>{target}"] = float(signed[i, j])
        flows.sizes[target][begin] = float(size[i, j])


def _add_read(
    flows: Flows, run: PromptRun, texts: Sequence[str], site: Site, at: Float[Array, "seq kept"]
) -> None:
    """Of a read: from every text, position and earlier write to every kept channel."""
    if site == FINAL_RESID:
        for node, value in _by_node(run, site, at):
            flows.nodes[node] = value
    n = len(run.stream_channels(site))
    added = run.added(site) * run.slopes[site][:, :n, None]
    writes = [w for w in run.parts.sites if w.place == "resid_delta" and w < site]
    for i, channel in enumerate(run.stream_channels(site).tolist()):
        target = Node(site, channel)
        for text in dict.fromkeys(texts):
            here = np.array([t == text for t in texts])
            _add(flows, f"token:{text}", target, added[here, i, 0], at[here, i])
        _add(flows, "positions", target, added[:, i, 1], at[:, i])
        for j, write in enumerate(writes):
            if channel in run.parts.kept[write]:
                _add(flows, str(Node(write, channel)), target, added[:, i, 2 + j], at[:, i])
    for i, channel in enumerate(run.parts.kept[site].tolist()[n:], n):
        _add(flows, "positions", Node(site, channel), run.changes[site][:, i], at[:, i])


def _add(flows: Flows, source: str, target: Node, added: Array, at: Array) -> None:
    if size := float(np.abs(added).sum()):
        flows.links[f"{source}>{target}"] = float(added @ at)
        flows.sizes[str(target)][source] = size


def on_no_path(sides: Sequence[Flows], nodes: Sequence[str]) -> tuple[str, ...]:
    """The nodes that no path goes through: they decide where heads look, or nothing."""
    return tuple(n for n in nodes if not any(flows.nodes.get(n) for flows in sides))


def share_out(flows: Flows, lost: Mapping[str, float]) -> None:
    """Give every node on no path what is lost without it, and its links shares by their size."""
    flows.alone.update(lost)
    for node, value in lost.items():
        flows.nodes[node] = value
        sizes = flows.sizes.get(node, {})
        for source, size in sizes.items():
            flows.links[f"{source}>{node}"] = value * size / sum(sizes.values())
