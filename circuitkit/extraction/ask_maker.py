"""Make asks: the backgrounds of their pairs, and the limits that a model can meet.

In: a model, ablation values, a reference sample. Out: for each ask a criterion on selection
pairs and a term over training pairs. Source: ours (docs/extraction.md#asks).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitkit.compiled.background import (
    Background,
    FoldedBackground,
    constant,
    other_prompts,
    sizes_of,
)
from circuitkit.extraction.asks import (
    GAIN_ASKED,
    Ask,
    AskName,
    Measure,
    Of,
    Term,
    cue_losses,
    cue_lost,
    gains,
    losses,
    losses_and_gains,
    misses,
)
from circuitkit.extraction.gated_background import GatedBackground
from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.extraction.upper_bound import Limits, Units, growing
from circuitkit.model import LN2, EncodedPairs, Transformer, pair_losses, record_tap
from circuitkit.nodes import NodeSet, Site

F_ASKED = 0.6
"""F under an interchange and under the model's norms; validation asks for 0.50 on others."""

WRONG_ASKED = 0.05
"""The share of prompts that may not follow the circuit, and of pairs whose cue may lose its
sign; validation allows 0.10 on others."""

CUE_NATS = 0.3
"""The cue's loss that mask learning aims at: that of a cue of 1.05."""

ABOVE_MODEL_NATS = 0.05
"""What a circuit may lose against the model on a form or a template where that is weak itself."""

RESTORE_NATS = 0.10
"""What nodes that are given back may add to the target; validation allows 0.15."""

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of the ablated nodes, the shares that are given back in turn; validation tries the same."""

_PAIRS_A_PATTERN = 8
_FEW = 96
_BATCHES, _PAIRS_A_BATCH = 8, 16
_SEQUENCES, _SEQUENCES_AT_ONCE = 32, 4


_LOSSES: Mapping[AskName, Of] = {
    "interchange": losses,
    "background": cue_losses,
    "norms": losses_and_gains,
    "restore": losses,
}
"""What the search lowers for each ask, in nats."""


def _chunks(name: AskName, pairs: EncodedPairs) -> list[EncodedPairs]:
    """The pairs in parts: growing ones, or small ones that each have a pattern of their own."""
    if name != "restore":
        return growing(pairs)
    return [pairs[i : i + _PAIRS_A_PATTERN] for i in range(0, len(pairs), _PAIRS_A_PATTERN)]


class _Worst(NamedTuple):
    """The most that a form and a template may lose where the model itself is weak, in nats."""

    form: float
    template: float


@dataclass(frozen=True, kw_only=True)
class AskMaker:
    """Makes the asks of one model.

    ``values`` are what ablated nodes are under ``mean``, ``sample`` is the reference (None: no
    ``background`` can be asked), ``pairs`` are what it is decided on. ``cut`` is the model
    without the edges that a circuit dropped, which then runs in its place.
    """

    model: Transformer
    values: Mapping[Site, Tensor]
    sample: Int[Tensor, "n length"] | None
    pairs: EncodedPairs
    target_loss_nats: float
    seed: int
    cut: Transformer | None = None

    @cached_property
    def own_losses(self) -> Float[Tensor, " pairs"]:
        """The model's own pair losses, in nats."""
        return pair_losses(tapped_differences(self.model, self.pairs, None))

    @cached_property
    def limits(self) -> Limits:
        """Of the pair loss under an interchange and under the model's norms, in nats."""
        own = self.own_losses.mean().item()
        asked = LN2 - F_ASKED * (LN2 - own)
        return Limits(mean=asked, form=max(asked, self._worst.form), template=None)

    @property
    def form_limits(self) -> Limits:
        """Of the pair loss with everything else at its mean, in nats; every form meets them."""
        target = self.target_loss_nats
        return Limits(mean=target, form=max(target, self._worst.form))

    @property
    def mean_limits(self) -> Limits:
        """The same, and no template loses half of ln 2."""
        return replace(self.form_limits, template=max(LN2 / 2, self._worst.template))

    @cached_property
    def _worst(self) -> _Worst:
        units, own = Units.of(self.pairs), self.own_losses
        return _Worst(
            units.worst_form(own) + ABOVE_MODEL_NATS, units.worst_template(own) + ABOVE_MODEL_NATS
        )

    def known(self, names: Sequence[AskName]) -> list[AskName]:
        """Those of the asks that can be asked."""
        return [name for name in names if name != "background" or self.sample is not None]

    def criteria(self, names: Sequence[AskName]) -> list[Ask]:
        """The criteria, the cheapest first."""
        loss = Measure(name="loss_nats", of=losses, limits=self.limits)
        wrong = Measure(name="share_wrong", of=misses, limits=Limits(mean=WRONG_ASKED))
        turned = Measure(name="share_cue_lost", of=cue_lost, limits=Limits(mean=WRONG_ASKED))
        gain = Measure(name="gain", of=gains, limits=Limits(mean=GAIN_ASKED))
        restored = Measure(
            name="loss_nats", of=losses, limits=Limits(mean=self.target_loss_nats + RESTORE_NATS)
        )
        measures: dict[AskName, tuple[Measure, ...]] = {
            "norms": (loss, gain),
            "background": (turned,),
            "interchange": (loss, wrong),
            "restore": (restored,),
        }
        return [self._ask(name, m) for name, m in measures.items() if name in names]

    def _ask(self, name: AskName, measures: tuple[Measure, ...]) -> Ask:
        few = slice(None) if name == "interchange" else slice(None, None, self._stride)
        pairs = self.pairs[few]
        pairs = pairs[pairs.by_length()]
        return Ask(
            name=name, measures=measures, loss_of=_LOSSES[name], pairs=pairs, units=Units.of(pairs),
            chunks=[self.folded(name, chunk, i) for i, chunk in enumerate(_chunks(name, pairs))],
        )  # fmt: skip

    @property
    def _stride(self) -> int:
        return max(1, len(self.pairs) // _FEW)

    def terms(
        self, names: Sequence[AskName], train: EncodedPairs, candidates: NodeSet, seed: int
    ) -> list[Term]:
        """The terms of the objective, over batches of training pairs of about equal length."""
        generator = torch.Generator().manual_seed(seed)
        train = train[train.by_length()]
        size = min(len(train), _PAIRS_A_BATCH)
        starts = torch.randint(len(train) - size + 1, (_BATCHES,), generator=generator).tolist()
        targets = {"background": CUE_NATS, "restore": self.target_loss_nats + RESTORE_NATS}
        return [
            Term(
                name=name, target=targets.get(name, self.limits.mean), loss_of=loss_of,
                batches=[
                    GatedBackground(self.folded(name, train[s : s + size], i), candidates)
                    for i, s in enumerate(starts)
                ],
            )
            for name, loss_of in _LOSSES.items()
            if name in names
        ]  # fmt: skip

    def folded(self, name: AskName, pairs: EncodedPairs, index: int = 0) -> FoldedBackground:
        """What a circuit is put into by an ask; ``index`` is the number of the batch."""
        return FoldedBackground(self.cut or self.model, self._background(name, pairs, index))

    def _background(self, name: AskName, pairs: EncodedPairs, index: int) -> Background:
        if name == "interchange":
            return other_prompts(self.model, pairs)
        if name == "norms":
            return constant(pairs, self.values, sizes_of(self.model, pairs))
        if name == "restore":
            return constant(pairs, self.values, given=self._given(index))
        n = len(pairs)
        if n not in self._drawn:
            self._drawn[n] = self._reference(n)
        return constant(pairs, {s: x.repeat(2, 1) for s, x in self._drawn[n].items()})

    @cached_property
    def _drawn(self) -> dict[int, dict[Site, Tensor]]:
        """Random reference tokens, by how many: the same for every batch of that size."""
        return {}

    def _given(self, index: int) -> NodeSet:
        """Nodes drawn at random: one of the shares of them, in turn."""
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        share = SHARES[index % len(SHARES)]
        drawn = {
            site: (torch.rand(width, generator=generator) < share).nonzero()[:, 0].tolist()
            for site, width in self.model.arch.widths.items()
        }
        return NodeSet(drawn, self.model.arch.widths)

    @torch.no_grad()
    def _reference(self, n: int) -> dict[Site, Float[Tensor, "n width"]]:
        """For every site its values at random reference tokens."""
        assert self.sample is not None
        generator = torch.Generator().manual_seed(self.seed)
        n_seq = min(_SEQUENCES, len(self.sample))
        chosen = self.sample[torch.randperm(len(self.sample), generator=generator)[:n_seq]].long()
        widths = self.model.arch.widths
        at = {s: torch.randint(chosen.numel(), (n,), generator=generator) for s in widths}
        drawn = {s: torch.empty(n, width, device=self.model.device) for s, width in widths.items()}
        for start in range(0, n_seq, _SEQUENCES_AT_ONCE):
            seen: dict[Site, Tensor] = {}
            some = chosen[start : start + _SEQUENCES_AT_ONCE]
            self.model.stream(some, record_tap(seen))
            first = start * chosen.shape[1]
            for site, x in seen.items():
                here = (at[site] >= first) & (at[site] < first + some.numel())
                drawn[site][here] = x.flatten(0, 1)[at[site][here] - first]
        return drawn
