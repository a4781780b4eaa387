"""What is known of a circuit while it is folded: constants, columns, values, and the steps so far.

In: a model with ablation values, the kept nodes and the prompts of a task. The circuit is run once
over all prompts, in float64, and every node is settled on the way: it is a number, a column of a
table by token or by position, or a step of the program.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitkit.circuit.folded_circuit import Channel, Keep, Row, Step, variable
from circuitkit.compiled import FoldedModel, Prompts
from circuitkit.nodes import FINAL_RESID, Node, NodeSet, Site

Rows = Float[Tensor, " rows"]
"""A number for every distinct beginning of a prompt: what a value is at the end of it."""


class Folding:
    """A circuit that is being folded.

    ``start`` and ``position`` say where each row begins in the stream; ``fixed`` has for each site
    the values of its nodes, of which those in ``values`` move instead.
    """

    def __init__(self, folded: FoldedModel, nodes: NodeSet, prompts: Prompts) -> None:
        self.model, self.folded, self.nodes, self.prompts = folded.model, folded, nodes, prompts
        self.arch = folded.model.arch
        rows = prompts.prefixes
        self.start, self.position, self.lasts = rows.start, rows.position, rows.lasts
        self.n_positions = prompts.pairs.tokens.shape[1]
        self.fixed = {site: value.double() for site, value in folded.values.items()}
        self.values: dict[Node, Rows] = {}
        self.steps: list[Step] = []
        self.by_token: dict[str, Float[Tensor, " starts"]] = {}
        self.by_position: dict[str, Float[Tensor, " positions"]] = {}
        self.still: dict[str, Float[Tensor, "starts rivals"]] = {}
        self.constant: list[str] = []
        self.observed: list[str] = []
        self.compared: list[str] = []
        self.stream = self._embedding()
        self.moved: dict[int, Rows] = {}
        self._added = torch.zeros(self.arch.d_model, dtype=torch.float64)
        self._seen: dict[int, float] = {}
        self._writes: dict[int, list[str]] = {}
        attended = [s.layer for s in nodes.channels if s.kind == "attn.resid_delta"]
        self._last_attention = max(attended, default=-1)

    def _embedding(self) -> Float[Tensor, "starts d_model"]:
        starts, body = self.prompts.starts, self.model.transformer
        x = body.wte.weight.double()[starts.token]
        if self.arch.positions == "learned":
            x = x + body.wpe.weight.double()[starts.position]
        return x

    def counts(self, site: Site) -> Bool[Tensor, " rows"]:
        """The rows in which nodes of a site can matter: after the last attention, ends alone."""
        is_last = site.layer == self._last_attention
        is_after = site == FINAL_RESID or site.layer > self._last_attention
        if not (is_after or (is_last and site.kind not in ("attn.act_in", "attn.k", "attn.v"))):
            return torch.ones_like(self.start, dtype=torch.bool)
        return torch.zeros_like(self.start, dtype=torch.bool).index_fill(0, self.lasts, True)

    def moving(self, site: Site) -> list[int]:
        """The kept channels of a site that move."""
        return [c for c in self.nodes[site] if Node(site, c) in self.values]

    def resting(self, site: Site) -> Float[Tensor, " width"]:
        """The values of a site's nodes that do not move, and 0 for those that do."""
        index = torch.tensor(self.moving(site), dtype=torch.long)
        return self.fixed[site].index_fill(0, index, 0.0)

    def fold(self, node: Node, value: float) -> None:
        """A node that never moves."""
        self.fixed[node.site] = self.fixed[node.site].clone()
        self.fixed[node.site][node.channel] = value
        self.constant.append(variable(node))

    def channel(self, c: int) -> str:
        """The name of a channel of the stream, after a step that brings it up to date."""
        name, now = f"x{c}", float(self._added[c])
        if name not in self.by_token:
            self.by_token[name] = self.stream[:, c].clone()
        constant = now - self._seen.get(c, now)
        writes = tuple(self._writes.pop(c, ()))
        self._seen[c] = now
        if writes or constant:
            self.steps.append(Channel(name=name, writes=writes, constant=constant))
        return name

    def channel_values(self, some: Int[Tensor, " some"]) -> Float[Tensor, "some d_model"]:
        """The whole stream in some rows."""
        x = self.stream[self.start[some]]
        for c, values in self.moved.items():
            x[:, c] += values[some]
        return x

    def write(self, site: Site) -> None:
        """Add what a block writes to the stream: numbers at once, moving nodes when they count."""
        added = self.resting(site)
        self.stream += added
        self._added += added
        for c in self.moving(site):
            values = self.values[Node(site, c)]
            self.moved[c] = self.moved[c] + values if c in self.moved else values
            self._writes.setdefault(c, []).append(variable(Node(site, c)))

    def keep(self, nodes: Mapping[Node, Rows], limit: str) -> None:
        """Put a computed limit on nodes whose raw values have been given names."""
        for node, values in nodes.items():
            self.steps.append(Keep(name=variable(node), limit=limit))
            self.values[node] = values
            self.compared.append(variable(node))


def rows_of(table: Float[Tensor, "n width"]) -> tuple[Row, ...]:
    """A tensor as plain numbers."""
    return tuple(map(tuple, table.tolist()))
