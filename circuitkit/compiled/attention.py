"""Attention of a circuit: only heads with a kept channel, and of those only what varies.

In: the kept queries, keys and values of every row. Out: the kept values, attended to, and, with
a sink, the mass that each head gives to positions. A head without a kept query or key attends
evenly, so its values are only summed. Within a head an ablated channel adds a constant to the
score, and an ablated value is multiplied by the mass. Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from circuitkit.compiled.distinct_prompts import Prompts, Rows
from circuitkit.compiled.folded_model import FoldedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slots:
    """Where kept channels lie in rows of ``(head, slot)``, and the constants elsewhere."""

    template: Float[Tensor, "head slot"]
    at: Int[Tensor, " kept"]

    def fill(self, x: Float[Tensor, "rows kept"]) -> Float[Tensor, "with_sink flat"]:
        """The channels in their slots, and one more row of zeros for the sink."""
        filled = self.template.flatten().expand(len(x), -1).index_copy(1, self.at, x)
        return F.pad(filled, (0, 0, 0, 1))


class KeptAttention:
    """The heads of a layer that a circuit needs.

    Args:
        folded: the folded model.
        layer: which layer.
        q, k, v: the kept channels of the three sites.
    """

    def __init__(self, folded: FoldedModel, layer: int, q: Tensor, k: Tensor, v: Tensor) -> None:
        block = folded.model.layers[layer].attn
        self.idle, self.d_head = folded.idle_heads(layer), block.d_head
        self.sink = block.attn_imp.sink_logit if hasattr(block, "attn_imp") else None
        heads = torch.cat([q, k]).div(self.d_head, rounding_mode="floor").unique()
        if self.sink is None:  # then a pattern moves nothing but kept values
            heads = heads[torch.isin(heads, v // self.d_head)]
        self.heads = heads
        patterned = torch.isin(v // self.d_head, heads)
        self.even, self.patterned = (~patterned).nonzero()[:, 0], patterned.nonzero()[:, 0]
        self.even_head = v[self.even] // self.d_head
        self.q_at, self.k_at = (torch.isin(x // self.d_head, heads).nonzero()[:, 0] for x in (q, k))
        values = {place: folded.values[block.sites[place]] for place in "qkv"}
        self._lay_out(q[self.q_at], k[self.k_at], v[self.patterned], values)
        self.v, self.v_values = v, values["v"]

    def _lay_out(self, q: Tensor, k: Tensor, v: Tensor, values: dict[str, Tensor]) -> None:
        """Slots: the channels that a score compares, one for the constant; values, the mass."""
        compared = torch.cat([q, k]).unique()
        head, slot = self._slots(compared)
        v_head, v_slot = self._slots(v)
        self.mass_slot: int = int(v_slot.max()) + 1 if len(v) else 0
        constant = int(slot.max()) + 1 if len(compared) else 0
        n_slots = max(constant, self.mass_slot) + 1
        rest = (values["q"] * values["k"]).index_fill(0, compared, 0.0)
        laid = {place: rest.new_zeros(len(self.heads), n_slots) for place in "qkv"}
        for place in "qk":
            laid[place][head, slot] = values[place][compared]
        laid["q"][:, constant] = 1.0
        laid["k"][:, constant] = rest.view(-1, self.d_head).sum(1)[self.heads]
        laid["v"][:, self.mass_slot] = 1.0
        at = head * n_slots + slot
        self.q, self.k = (
            _Slots(template=laid[place], at=at[torch.searchsorted(compared, kept)])
            for place, kept in (("q", q), ("k", k))
        )
        self.v_slots: _Slots = _Slots(template=laid["v"], at=v_head * n_slots + v_slot)
        if self.sink is not None:
            at_sink = rest.new_zeros(len(self.heads), n_slots)
            at_sink[:, constant] = self.sink[self.heads] * self.d_head**0.5
            self.at_sink = at_sink.flatten()

    def _slots(self, channels: Tensor) -> tuple[Tensor, Tensor]:
        """The head of each channel among ``heads``, and its number within that head."""
        head = torch.searchsorted(self.heads, channels // self.d_head)
        order = torch.arange(len(channels), device=channels.device)
        return head, order - torch.searchsorted(head, head)

    @property
    def moves(self) -> bool:
        """Whether anything written depends on the attention pattern."""
        return bool(len(self.v)) or (self.sink is not None and bool(len(self.heads)))

    def columns(self, weight: Float[Tensor, "d_model channels"]) -> Float[Tensor, "d_model inputs"]:
        """What each unit of the output adds to the residual write."""
        v = torch.cat([self.v[self.even], self.v[self.patterned]])
        columns = weight[:, v]
        if self.sink is None:
            return columns
        spread = self.idle.spread[:, self.heads].float()
        held = weight[:, self.v[self.patterned]] * self.v_values[self.v[self.patterned]]
        head, _ = self._slots(self.v[self.patterned])
        return torch.cat([columns, spread.index_add(1, head, held, alpha=-1)], 1)

    def idle_inputs(self) -> Float[Tensor, "positions inputs"]:
        """The output when nothing is kept, by position."""
        mass = self.idle.mass
        v = torch.cat([self.v[self.even], self.v[self.patterned]])
        values = self.v_values[v].double() * mass[:, v // self.d_head]
        return values if self.sink is None else torch.cat([values, mass[:, self.heads]], 1)

    def __call__(
        self,
        q: Float[Tensor, "queries q"],
        k: Float[Tensor, "rows k"],
        v: Float[Tensor, "rows v"],
        rows: Rows,
        prompts: Prompts,
        *,
        at_end: bool,
    ) -> Float[Tensor, "out inputs"]:
        """Attend from the end of each prompt, or from every distinct prefix.

        ``queries`` are the prompts when ``at_end``, otherwise the rows.
        """
        found = [self._sum_evenly(v.index_select(1, self.even), rows, prompts, at_end=at_end)]
        if len(self.heads):
            query = self.q.fill(q.index_select(1, self.q_at))
            key, value = (
                self.k.fill(k.index_select(1, self.k_at)),
                self.v_slots.fill(v.index_select(1, self.patterned)),
            )
            y = self._attend(query, key, value, rows, prompts, at_end=at_end).flatten(1)
            found.append(y.index_select(1, self.v_slots.at))
            if self.sink is not None:
                found.append(y[:, self.mass_slot :: self.q.template.shape[1]])
        return torch.cat(found, 1)

    def _sum_evenly(self, v: Tensor, rows: Rows, prompts: Prompts, *, at_end: bool) -> Tensor:
        out = prompts.lasts if at_end else prompts.prefixes
        if not v.shape[1]:
            return v.new_zeros(len(out.start), 0)
        mass = self.idle.mass[:, self.even_head].float()
        share = mass[out.position if len(mass) > 1 else 0] / (out.position + 1)[:, None]
        sums = _running_sum(_on_grid(v, rows.grid)).flatten(0, 1)
        return sums.index_select(0, _places(prompts, at_end=at_end)) * share

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, rows: Rows, prompts: Prompts, *, at_end: bool
    ) -> Float[Tensor, "out head slot"]:
        grid, last = rows.grid, prompts.pairs.last
        seq = grid.shape[1]
        if self.sink is not None:  # one more position in front, whose key is the sink's
            grid = F.pad(grid, (1, 0), value=len(k) - 1)
            k = torch.cat([k[:-1], self.at_sink[None]])
        key, value = (self._by_head(_on_grid(x, grid)) for x in (k, v))
        if at_end:
            query = self._by_head(q[:-1, None])
            offset = grid.shape[1] - seq
            seen = torch.arange(grid.shape[1], device=last.device) <= last[:, None] + offset
            return self._softmax(query, key, value, mask=seen[:, None, None])[:, :, 0]
        query = self._by_head(_on_grid(q, grid))
        y = self._softmax(query, key, value)[:, :, -seq:]
        place = prompts.first
        return y[place // seq, :, place % seq]

    def _softmax(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=self.d_head**-0.5
        )

    def _by_head(self, x: Float[Tensor, "batch seq flat"]) -> Float[Tensor, "batch head seq slot"]:
        return x.unflatten(2, self.q.template.shape).transpose(1, 2)


def _running_sum(x: Float[Tensor, "batch seq width"]) -> Float[Tensor, "batch seq width"]:
    """The sum over all positions up to each; a GPU's own has no fixed order."""
    if x.device.type == "cpu":
        return x.cumsum(1)
    return x.new_ones(x.shape[1], x.shape[1]).tril() @ x


def _on_grid(
    x: Float[Tensor, "rows width"], grid: Int[Tensor, "batch seq"]
) -> Float[Tensor, "batch seq width"]:
    return x.index_select(0, grid.flatten()).unflatten(0, grid.shape)


def _places(prompts: Prompts, *, at_end: bool) -> Int[Tensor, " out"]:
    """The place in the flat grid of each prompt's end, or of each prefix."""
    if not at_end:
        return prompts.first
    seq, last = prompts.pairs.tokens.shape[1], prompts.pairs.last
    return torch.arange(len(last), device=last.device) * seq + last
