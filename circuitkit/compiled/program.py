"""Compile a circuit: the masked model with everything constant folded away.

In: a model, the kept nodes and the ablation values. Out: a module that gives the
masked model's logit differences (to 1e-4 in float32) while computing only what
the kept nodes need. A block without a kept write adds a constant; a head without
a kept q, k or v gives the same vector at a position whatever the prompt (its
attention is uniform but for the sink); ablated channels fold into biases.
Activation top-k compares all channels of a site, so the vector it ranks is built
in full, from few columns of a matrix. Of the last layer only the last position is
computed where keys and values do not need the rest.

Source: ours (EXTRACTION section 6).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from circuitkit.model import EncodedPairs, Transformer
from circuitkit.model.transformer import MLP, Attention, Layer
from circuitkit.nodes import FINAL_RESID, NodeSet, Site


class _Reader:
    """A linear map read through kept channels: ``constant + W[:, kept] x[kept]``."""

    def __init__(self, weight: Tensor, bias: Tensor | None, kept: Tensor, values: Tensor) -> None:
        ablated = values.index_fill(0, kept, 0.0)
        self.constant = weight @ ablated + (0 if bias is None else bias)
        self.weight = weight[:, kept]

    def __call__(self, x: Float[Tensor, "*batch kept"]) -> Float[Tensor, "*batch out"]:
        return F.linear(x, self.weight, self.constant)


class _Part:
    """What the two kinds of block share: kept channels and ablation values by place."""

    def __init__(
        self, block: Attention | MLP, nodes: NodeSet, values: Mapping[Site, Tensor]
    ) -> None:
        self.block = block
        device = next(block.parameters()).device
        self.kept = {
            place: torch.tensor(nodes[site], dtype=torch.long, device=device)
            for place, site in block.sites.items()
        }
        self.values = {place: values[site] for place, site in block.sites.items()}

    def select(self, place: str, x: Tensor) -> Float[Tensor, "*batch kept"]:
        """The kept channels after activation top-k over all channels."""
        return self.block.visit(place, x, None)[..., self.kept[place]]

    def filled(self, place: str, x: Tensor) -> Float[Tensor, "*batch width"]:
        """All channels: the kept after top-k, the others at their ablation value."""
        kept = self.kept[place]
        if not len(kept):
            return self.values[place].expand(*x.shape[:-1], -1)
        out = self.values[place].expand(*x.shape[:-1], -1).clone()
        out[..., kept] = self.select(place, x)
        return out


class _CompiledAttention(_Part):
    block: Attention

    def __init__(self, block: Attention, nodes: NodeSet, values: Mapping[Site, Tensor]) -> None:
        super().__init__(block, nodes, values)
        parts = (self.kept[place] for place in ("q", "k", "v"))
        heads = torch.cat([kept // block.d_head for kept in parts]).unique()
        self.heads = heads
        channels = torch.arange(block.n_head * block.d_head, device=heads.device)
        self.live = channels[torch.isin(channels // block.d_head, heads)]
        reads = zip("qkv", block.c_attn.weight.chunk(3), _chunks(block.c_attn.bias), strict=True)
        self.read = {
            place: _Reader(weight, bias, self.kept["act_in"], self.values["act_in"])
            for place, weight, bias in reads
        }
        self.write = block.c_proj.weight[:, self.live]

    def constant(self, seq: int) -> Float[Tensor, "seq d_model"]:
        """What the heads without a kept channel write before top-k, by position."""
        fixed = {place: self.values[place].expand(1, seq, -1) for place in "qkv"}
        y = self.block.attend(fixed["q"], fixed["k"], fixed["v"])[0]
        y = y.index_fill(1, self.live, 0.0)
        return F.linear(y, self.block.c_proj.weight, self.block.c_proj.bias)

    def __call__(self, a: Tensor, last: Tensor | None) -> Float[Tensor, "batch seq d_model"]:
        a = self.select("act_in", a)
        r = self.constant(a.shape[1])
        rows = torch.arange(len(a), device=a.device)
        r = r.expand(len(a), -1, -1) if last is None else r[last][:, None]
        if len(self.heads):
            q, k, v = (self._heads(place, self.read[place](a)) for place in "qkv")
            y = self.block.attend(q, k, v, self.heads)
            y = y if last is None else y[rows, last][:, None]
            r = r + F.linear(y, self.write)
        return self.filled("resid_delta", r)

    def _heads(self, place: str, x: Tensor) -> Float[Tensor, "batch seq live"]:
        return self.filled(place, x)[..., self.live]


class _CompiledMLP(_Part):
    block: MLP

    def __init__(self, block: MLP, nodes: NodeSet, values: Mapping[Site, Tensor]) -> None:
        super().__init__(block, nodes, values)
        reads, neurons = self.kept["act_in"], self.kept["post_act"]
        self.read = _Reader(block.c_fc.weight, block.c_fc.bias, reads, self.values["act_in"])
        self.write = _Reader(
            block.c_proj.weight, block.c_proj.bias, neurons, self.values["post_act"]
        )

    def __call__(self, m: Tensor) -> Float[Tensor, "batch seq d_model"]:
        if len(self.kept["post_act"]):
            h = self.select("post_act", self.block.activation(self.read(self.select("act_in", m))))
        else:
            h = m[..., :0]
        return self.filled("resid_delta", self.write(h))


class CompiledCircuit:
    """The masked model as a small program; made by ``compile_circuit``."""

    def __init__(
        self, model: Transformer, nodes: NodeSet, ablation_values: Mapping[Site, Tensor]
    ) -> None:
        self.model = model
        layers = model.layers
        self.attention = [_CompiledAttention(x.attn, nodes, ablation_values) for x in layers]
        self.mlp = [_CompiledMLP(x.mlp, nodes, ablation_values) for x in layers]
        self.final_kept = torch.tensor(nodes[FINAL_RESID], dtype=torch.long)
        self.final_value = ablation_values[FINAL_RESID]

    @torch.no_grad()
    def differences(self, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """The logit difference of every prompt: d = logit[answer] - logit[foil]."""
        final = self._final(self._stream(pairs.tokens, pairs.last))
        return self._difference(final, pairs)

    def _stream(self, tokens: Int[Tensor, "batch seq"], last: Tensor) -> Tensor:
        """The residual stream at the last position, after every layer."""
        x, positions = self.model.embed(tokens)
        rows = torch.arange(len(x), device=x.device)
        *early, final = range(len(self.mlp))
        for i in early:
            x = self._mlp(i, self._attention(i, x, positions, None), positions)
        x = self._attention(final, x, positions, last, rows)
        return self._mlp(final, x, None if positions is None else positions[last][:, None])[:, 0]

    def _attention(
        self,
        i: int,
        x: Tensor,
        positions: Tensor | None,
        last: Tensor | None,
        rows: Tensor | None = None,
    ) -> Tensor:
        layer, part = self._layer(i), self.attention[i]
        here = x if last is None else x[rows, last][:, None]
        if not len(part.kept["resid_delta"]):
            return here + part.values["resid_delta"]
        return here + part(layer.read_attention(x, positions), last)

    def _mlp(self, i: int, x: Tensor, positions: Tensor | None) -> Tensor:
        layer, part = self._layer(i), self.mlp[i]
        if not len(part.kept["resid_delta"]):
            return x + part.values["resid_delta"]
        return x + part(layer.read_mlp(x, positions))

    def _layer(self, i: int) -> Layer:
        return self.model.layers[i]

    def _final(self, x: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows d_model"]:
        out = self.final_value.expand_as(x).clone()
        out[:, self.final_kept] = x[:, self.final_kept]
        return self.model.transformer.ln_f(out)

    def _difference(self, x: Tensor, pairs: EncodedPairs) -> Float[Tensor, " rows"]:
        """Only the two answer rows of the unembedding, the bias and the bigram table."""
        model = self.model
        weight = model.lm_head.weight[pairs.answers] - model.lm_head.weight[pairs.foils]
        d = (x * weight).sum(-1)
        d = d + model.final_logits_bias[pairs.answers] - model.final_logits_bias[pairs.foils]
        if model.arch.bigram_table:
            token = pairs.tokens[torch.arange(len(x), device=x.device), pairs.last]
            table = model.bigram_table
            d = d + table[token, pairs.answers] - table[token, pairs.foils]
        return d


def compile_circuit(
    model: Transformer, nodes: NodeSet, ablation_values: Mapping[Site, Tensor]
) -> CompiledCircuit:
    """Compile the circuit of ``nodes``, every other node at its ablation value.

    Equal to running the model under ``gate_tap`` with those nodes kept, to 1e-4 in
    logits. Compiling costs milliseconds; the weights are read, not copied.
    """
    return CompiledCircuit(model, nodes, ablation_values)


def _chunks(bias: Tensor | None) -> tuple[Tensor | None, ...]:
    return (None, None, None) if bias is None else bias.chunk(3)
