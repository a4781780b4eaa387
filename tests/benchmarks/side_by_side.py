"""Two planted models as one: each keeps its channels, heads, neurons and words.

In: two planted models without norms or positions. Out: one model that does both tasks, by
circuits that have no node in common. So it is known which circuit is whose.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from circuitkit import NodeSet, Transformer
from circuitkit.model.transformer import Layer
from circuitkit.nodes import Node
from circuitkit.planted import Planted
from circuitkit.planted.planted_prompts import random_text, word_tokenizer
from circuitkit.planted.wiring import FILLERS


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Both models as one, asked the first one's task; ``second`` is the other's mechanism."""

    name: str
    model: Transformer
    tokenizer: Tokenizer
    reference: Int[Tensor, "n length"]
    task_lines: str
    first: NodeSet
    second: NodeSet


def place_side_by_side(one: Planted, other: Planted) -> SideBySide:
    """Build the model of both; the second one's words are told apart by a mark."""
    a, b = one.model.arch, other.model.arch
    assert (a.norm, a.positions, b.norm, b.positions) == ("none", "none", "none", "none")
    arch = a.model_copy(
        update={
            "vocab_size": a.vocab_size + b.vocab_size - len(FILLERS),
            "n_layer": max(a.n_layer, b.n_layer),
            **{k: getattr(a, k) + getattr(b, k) for k in ("d_model", "n_head", "d_mlp")},
        }
    )
    model = Transformer(arch).requires_grad_(requires_grad=False).eval()
    for name, parameter in model.named_parameters():
        parameter.fill_(-30.0 if name.endswith("sink_logit") else 0.0)
    words = [*_words(one), *(f"{word}*" for word in _words(other)[len(FILLERS) :])]
    for i, planted in enumerate((one, other)):
        rows = torch.arange(len(_words(planted)))
        rows[len(FILLERS) :] += i * (a.vocab_size - len(FILLERS))
        _copy(planted.model, model, rows, last=bool(i))
    return SideBySide(
        name=f"{one.name} beside {other.name}",
        model=model,
        tokenizer=word_tokenizer(words),
        reference=random_text(len(words), one.variation.seed),
        task_lines=one.task_lines,
        first=NodeSet(one.mechanism.channels, arch.widths),
        second=NodeSet.of(
            (Node(n.site, n.channel + a.width(n.site.kind)) for n in other.mechanism), arch.widths
        ),
    )


def _words(planted: Planted) -> list[str]:
    vocab = planted.tokenizer.get_vocab()
    return sorted(vocab, key=lambda word: vocab[word])


def _copy(source: Transformer, target: Transformer, rows: Tensor, *, last: bool) -> None:
    """Write a model into the first or the last channels of a wider one."""
    width = source.arch.d_model
    channels = slice(-width, None) if last else slice(width)
    target.transformer.wte.weight[rows, channels] = source.transformer.wte.weight
    target.lm_head.weight[rows, channels] = source.lm_head.weight
    target.final_logits_bias[rows] += source.final_logits_bias
    for layer, (here, there) in enumerate(zip(source.layers, target.layers, strict=False)):
        assert layer < target.arch.n_layer
        _copy_layer(here, there, channels, last=last)


def _copy_layer(here: Layer, there: Layer, channels: slice, *, last: bool) -> None:
    def part(size: int) -> slice:
        return slice(-size, None) if last else slice(size)

    heads = part(here.attn.n_head * here.attn.d_head)
    for block in ("weight", "bias"):
        chunks = zip(*(getattr(x.attn.c_attn, block).chunk(3) for x in (here, there)), strict=True)
        for own, into in chunks:
            into[(heads, channels) if block == "weight" else heads] = own
    there.attn.c_proj.weight[channels, heads] = here.attn.c_proj.weight
    there.attn.c_proj.bias[channels] = here.attn.c_proj.bias
    neurons = part(here.mlp.c_fc.out_features)
    there.mlp.c_fc.weight[neurons, channels] = here.mlp.c_fc.weight
    there.mlp.c_fc.bias[neurons] = here.mlp.c_fc.bias
    there.mlp.c_proj.weight[channels, neurons] = here.mlp.c_proj.weight
    there.mlp.c_proj.bias[channels] = here.mlp.c_proj.bias
    if hasattr(here.attn, "attn_imp"):
        there.attn.attn_imp.sink_logit[part(here.attn.n_head)] = here.attn.attn_imp.sink_logit
