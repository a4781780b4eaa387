"""No leak through norms: the circuit does not depend on a stream that pruning made small.

A norm divides by the size of the whole stream. Ablating strong nodes shrinks it and amplifies a
weak writer, which can then do alone what it cannot do in the model. So the circuit is run again
with every norm's denominator taken from the model on the same prompt, and the gain of the final
norm is measured. Source: docs/validation.md#no_norm_leak, after the published critique of
pruned circuits.

What can fool it: a weak writer whose values, not its norm, were amplified.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.extraction.masked_model import PAIRS_A_BATCH, gates_of
from circuitkit.findings import Claim, Finding
from circuitkit.model import EncodedPairs, Tap, Transformer, gate_tap, logit_differences
from circuitkit.model.per_pair import losses_of
from circuitkit.model.transformer import Norm
from circuitkit.nodes import FINAL_RESID
from circuitkit.statistics.decision import Requirement, decide, joined
from circuitkit.statistics.intervals import cluster_mean
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.trial import Trial

CLAIM = Declared(
    id=Claim.NO_NORM_LEAK,
    suite="default",
    fooled_by="a weak writer whose values, not its norm, were amplified",
)

F_LOW, GAIN = 0.50, 3.0


def check_no_norm_leak(trial: Trial) -> Finding:
    """F with the model's denominators at least 0.50, the final norm's gain at most 3."""
    pairs = trial.few
    tap = gate_tap(gates_of(trial.nodes, trial.model.arch.widths), trial.values)
    frozen = run_frozen(trial.model, pairs, tap, trial.circuit_model)
    trial.passes += 2
    model = losses_of(trial.scored.model)[: len(pairs)]
    f = trial.recovered(losses_of(frozen.differences), model, pairs.templates)
    gain = cluster_mean(frozen.gains.view(2, -1).mean(0), pairs.templates, trial.seed)
    decision = decide(
        len(pairs), Requirement(estimate=f, low=F_LOW), Requirement(estimate=gain, high=GAIN)
    )
    bounds = f"[{gain.low:.2f}, {gain.high:.2f}]" if gain.is_bounded else "[no interval]"
    gained = f"the final norm amplifies {gain.effect:.2f} times {bounds}"
    no_norm = trial.model.arch.norm == "none"
    return Finding(
        claim=CLAIM.id,
        outcome=decision.outcome,
        note=joined("the model has no norms" if no_norm else gained, decision.note),
        **f.fields(),
        unit="F with the model's norms",
        threshold=f"lower bound ≥ {F_LOW:.2f}, upper bound of the gain ≤ {GAIN:.0f}",
        threshold_source="docs/validation.md#no_norm_leak",
        n_pairs=len(pairs),
        n_clusters=len(set(pairs.templates)),
        fooled_by=CLAIM.fooled_by,
    )


class Frozen(NamedTuple):
    """A tapped run under the model's denominators.

    ``gains``: the model's size of the final stream over the tapped one's own, by prompt.
    """

    differences: Float[Tensor, " rows"]
    gains: Float[Tensor, " rows"]


@torch.no_grad()
def run_frozen(
    model: Transformer, pairs: EncodedPairs, tap: Tap, tapped_model: Transformer | None = None
) -> Frozen:
    """The logit differences under a tap, with every norm's denominator of the untapped model.

    ``tapped_model`` is the model that runs under the tap, where edges of it are cut.
    """

    def run(batch: EncodedPairs) -> Tensor:
        own, tapped = _streams(model, tapped_model or model, batch.tokens, tap)
        rows = torch.arange(len(batch.tokens))
        own, tapped = own[rows, batch.last], tapped[rows, batch.last]
        norm = model.transformer.ln_f
        logits = _unembed(model, _normed(norm, tapped, own), batch.tokens[rows, batch.last])
        gains = (norm.size(own) / norm.size(tapped))[:, 0]
        return torch.stack([logit_differences(logits, batch), gains])

    return Frozen(*pairs.each(PAIRS_A_BATCH, run))


def _streams(
    model: Transformer, tapped_model: Transformer, tokens: Int[Tensor, "batch seq"], tap: Tap
) -> tuple[Float[Tensor, "batch seq d_model"], Float[Tensor, "batch seq d_model"]]:
    """The stream at the end of the model and of the tapped model, run side by side."""
    own, positions = model.embed(tokens)
    tapped = own
    for layer, cut in zip(model.layers, tapped_model.layers, strict=True):
        read = layer.read_attention(own, positions)
        frozen = _replaced(read, _normed(layer.ln_1, tapped, own))
        own, tapped = own + layer.attn(read, None), tapped + cut.attn(frozen, tap)
        read = layer.read_mlp(own, positions)
        frozen = _replaced(read, _normed(layer.ln_2, tapped, own))
        own, tapped = own + layer.mlp(read, None), tapped + cut.mlp(frozen, tap)
    return own, tap(FINAL_RESID, tapped)


def _replaced(read: Tensor, stream: Tensor) -> Float[Tensor, "batch seq d_in"]:
    """A read with its stream part replaced; concatenated position channels are unchanged."""
    return torch.cat([stream, read[..., stream.shape[-1] :]], dim=-1)


def _normed(norm: Norm, x: Tensor, like: Tensor) -> Tensor:
    """``norm(x)``, divided by the size of another stream."""
    if norm.kind == "none":
        return x
    if norm.kind == "layernorm":
        x = x - x.mean(-1, keepdim=True)
        return x / norm.size(like) * norm.weight + norm.bias
    return x / norm.size(like) * norm.weight


def _unembed(model: Transformer, x: Tensor, tokens: Tensor) -> Float[Tensor, "rows vocab"]:
    """Logits from a final stream that is already normed."""
    logits = model.lm_head(x) + model.final_logits_bias
    return logits + model.bigram_table[tokens] if model.arch.bigram_table else logits
