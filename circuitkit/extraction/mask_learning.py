"""Mask learning: one score for each node, the size pressure driven by dual ascent.

In: a model, training pairs, ablation values. Out: a score for every node and the
set whose score is positive. Source: Gao et al. 2025, section A.5 (gate =
Heaviside forward, sigmoid derivative backward, scores clamped to [-1, 1]).
Where we differ (docs/extraction.md#mask-learning): no search over settings. λ rises while the
loss is well below the target and falls otherwise, so the target is just met. Scores do not
decay. A node far below the threshold is given up, which makes later steps cheaper. Ranks come
from a running mean before clamping. ``PAPER`` holds the settings of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from circuitkit.extraction.asks import Term
from circuitkit.extraction.gated_model import GatedModel
from circuitkit.extraction.masked_model import gates_of, nodes_of
from circuitkit.model import EncodedPairs, Transformer, pair_losses
from circuitkit.nodes import NodeSet, Site
from circuitkit.progress import Progress, silent


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningConfig:
    """Settings of one mask learning; the same for every model and task.

    ``pressure_start`` is λ in nats for each node. It is ``gentler`` times lower in every second
    restart, since neither value gives the smaller circuit on every task, and after a learning
    that lost the task (1: never lower). ``comfort`` is the share of the target below which the
    pressure rises, by ``pressure_factor`` (1 keeps it fixed). Ranks are the mean of the scores
    over the last ``averaged`` share of the steps (0: the last scores, clamped). A node whose
    score falls to ``-given_up`` is given up, and the rest learned without it; above 1 none is,
    since scores are clamped. ``tied`` gives q and k channels of the same number one score.

    Examples:
        >>> import circuitkit as ck
        >>> ck.PruningConfig(n_steps=50).pressure_factor
        1.05
    """

    n_steps: int = 200
    batch_pairs: int = 32
    lr: float = 0.03
    beta2: float = 0.999
    weight_decay: float = 0.0
    temperature: float = 1.0
    init_low: float = 0.1
    init_high: float = 1.0
    init_std: float = 0.05
    pressure_start: float = 3e-3
    pressure_factor: float = 1.05
    gentler: float = 30.0
    comfort: float = 0.8
    averaged: float = 0.2
    given_up: float = 0.3
    tied: bool = False

    def of_restart(self, index: int) -> PruningConfig:
        """The settings of a restart: the pressure starts high in the even ones, low in the odd."""
        return replace(self, pressure_start=self.pressure_start / self.gentler ** (index % 2))


PAPER = PruningConfig(
    n_steps=2000, batch_pairs=64, lr=3e-3, beta2=0.95, weight_decay=1e-3,
    init_low=0.1, init_high=0.1, init_std=0.01, pressure_start=1e-4, pressure_factor=1.0,
    gentler=1.0, averaged=0.0, given_up=2.0,
)  # fmt: skip
"""The centres of the search of Gao et al. 2025, section A.5: λ fixed, scores from N(0.1, 0.01)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What mask learning found: a rank for every node, the learned set, the history.

    ``history`` holds (task loss in nats, nodes kept, λ) for every step. A circuit may not have
    nodes outside ``within``, whatever their rank; None allows all. ``discretised`` is the set that
    meets the target, once it is known, and ``n_judged`` how many were tried for it.
    """

    ranks: Mapping[Site, Float[Tensor, " width"]]
    learned: NodeSet
    history: tuple[tuple[float, int, float], ...] = ()
    within: NodeSet | None = None
    discretised: NodeSet | None = None
    n_judged: int = 0


def learn_masks(
    model: Transformer,
    pairs: EncodedPairs,
    values: Mapping[Site, Tensor],
    *,
    target_loss_nats: float,
    config: PruningConfig = PruningConfig(),
    seed: int = 0,
    within: NodeSet | None = None,
    terms: Sequence[Term] = (),
    progress: Progress = silent,
) -> Scores:
    """One mask learning from one seed; nodes outside ``within`` stay ablated.

    Every term of ``terms`` is added to the task loss, with a weight that rises while its loss
    is above its target. The scores stay on the CPU: they are what decides.
    """
    generator = torch.Generator().manual_seed(seed)
    pairs = pairs[pairs.by_length()]
    layout = _Layout.of(model.arch.widths, within, config.tied)
    dual = _Dual(target_loss_nats, config, terms, config.pressure_start)
    gated = GatedModel(model, values, within)
    scores = initial_scores(gated, pairs, config, generator).requires_grad_()
    optimizer = _optimizer(scores, config)
    averaging = round(config.averaged * config.n_steps)
    running = torch.zeros_like(scores)
    history = []
    for step in range(config.n_steps):
        optimizer.param_groups[0]["lr"] = config.lr * (1 - step / config.n_steps)
        batch = pairs[_batch(len(pairs), config.batch_pairs, generator)]
        gates = layout.allowed(open_gates(scores, config.temperature))
        by_site = layout.by_site(gates.to(model.device))
        loss = pair_losses(gated.differences(batch, by_site)).mean()
        optimizer.zero_grad()
        asked = [term.loss(step, by_site) for term in terms]
        dual.objective(gates, loss, asked).backward(inputs=[scores])
        optimizer.step()
        if step >= config.n_steps - averaging:
            running += scores.detach() / averaging
        scores.detach().clamp_(-1, 1)
        may_return = min(config.given_up, _travel_left(step, config))
        before = gated.candidates
        gated.narrow(layout.by_site(layout.allowed(scores.detach() > -may_return)))
        if gated.candidates is not before:
            for term in terms:
                term.narrow(gated.candidates)
        history.append((loss.item(), int(gates.sum()), dual.pressure))
        dual.ascend(loss, asked)
        progress("masks", step + 1, config.n_steps)
    last = scores.detach()
    return Scores(
        ranks=layout.by_site(layout.tie(running if averaging else last)),
        learned=nodes_of(layout.by_site(layout.allowed(last > 0))),
        history=tuple(history),
        within=within,
    )


@dataclass(slots=True)
class _Dual:
    """The objective and its weights: λ for every open gate, one for each term.

    λ rises while every loss is well below its target and falls otherwise; the weight of a term
    falls while its own is.
    """

    target: float
    config: PruningConfig
    terms: Sequence[Term]
    pressure: float

    def objective(self, gates: Tensor, loss: Tensor, asked: Sequence[Tensor]) -> Tensor:
        total = loss + (self.pressure * gates.sum()).to(loss.device)
        for term, found in zip(self.terms, asked, strict=True):
            total = total + term.weight * found
        return total

    def ascend(self, loss: Tensor, asked: Sequence[Tensor]) -> None:
        up, comfort = self.config.pressure_factor, self.config.comfort
        met = [loss.item() < comfort * self.target]
        for term, found in zip(self.terms, asked, strict=True):
            met.append(found.item() < comfort * term.target)
            term.weigh(1 / up if met[-1] else up)
        self.pressure *= up if all(met) else 1 / up


def _optimizer(scores: Tensor, config: PruningConfig) -> torch.optim.AdamW:
    betas = (0.9, config.beta2)
    return torch.optim.AdamW([scores], config.lr, betas, weight_decay=config.weight_decay)


def initial_scores(
    gated: GatedModel,
    pairs: EncodedPairs,
    config: PruningConfig,
    generator: torch.Generator,
) -> Float[Tensor, " nodes"]:
    """Spread the scores by attribution, so that gates do not all close in the same step.

    A competent model's loss is flat, so equal scores fall together until the task is lost.
    The node whose gate moves the logit difference most starts at ``init_high``.
    """
    batch = pairs[torch.randperm(len(pairs), generator=generator)[: config.batch_pairs]]
    gradients = gated.gradients(batch, objective=lambda d: d)
    moved = torch.cat(list(gradients.values())).abs()
    share = moved.argsort(stable=True).argsort() / (len(moved) - 1)
    spread = config.init_low + (config.init_high - config.init_low) * share
    return spread + config.init_std * torch.randn(len(moved), generator=generator)


def open_gates(scores: Float[Tensor, " nodes"], temperature: float) -> Float[Tensor, " nodes"]:
    """Exactly 0 or 1 forward; the derivative of a sigmoid backward."""
    soft = torch.sigmoid(scores / temperature)
    return (scores > 0).float() + (soft - soft.detach())


@dataclass(frozen=True, slots=True)
class _Layout:
    """One flat vector over all nodes, site by site; ``open`` is 0 where a circuit may have none."""

    widths: Mapping[Site, int]
    open: Float[Tensor, " nodes"]
    tied: bool

    @classmethod
    def of(cls, widths: Mapping[Site, int], within: NodeSet | None, tied: bool) -> _Layout:
        allowed = NodeSet.full(widths) if within is None else within
        return cls(widths, torch.cat(list(gates_of(allowed, widths).values())), tied)

    def by_site(self, flat: Tensor) -> dict[Site, Tensor]:
        return dict(zip(self.widths, flat.split(list(self.widths.values())), strict=True))

    def allowed(self, flat: Tensor) -> Float[Tensor, " nodes"]:
        """0 where a circuit may not have the node."""
        return self.tie(flat * self.open)

    def tie(self, flat: Tensor) -> Float[Tensor, " nodes"]:
        """Where they are tied, k channels take what the q channels of the same layer have."""
        if not self.tied:
            return flat
        parts = self.by_site(flat)
        queries = (
            Site(site.layer, "attn", "q") if site.kind == "attn.k" else site for site in parts
        )
        return torch.cat([parts[query] for query in queries])


def _batch(n_pairs: int, size: int, generator: torch.Generator) -> slice:
    """A window of pairs that are sorted by length, so that a batch pads little."""
    start = int(torch.randint(max(1, n_pairs - size + 1), (1,), generator=generator))
    return slice(start, start + size)


def _travel_left(step: int, config: PruningConfig) -> float:
    """How far a score can still rise after a step: Adam moves it by about the rate at most.

    A node whose score cannot rise above 0 again stays ablated.
    """
    left = config.n_steps - step - 1
    return config.lr * left * (left + 1) / (2 * config.n_steps)
