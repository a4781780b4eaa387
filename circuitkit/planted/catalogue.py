"""All planted models by name: a name and a variation in, a model with its question out."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from circuitkit.errors import UsageError
from circuitkit.nodes import NodeSet
from circuitkit.planted import copying, logic, parts, traps
from circuitkit.planted.noise import lay_noise
from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_model import Planted
from circuitkit.planted.planted_prompts import random_text, task_lines, word_tokenizer
from circuitkit.planted.variation import Variation

MECHANISMS: dict[str, Callable[[Variation], Plan]] = {
    mechanism.__name__: mechanism
    for mechanism in (
        copying.closing_quote,
        logic.nesting_depth,
        copying.variable_binding,
        copying.induction,
        copying.selected_slot,
        logic.neuron_chain,
        logic.either_feature,
        logic.both_features,
        logic.long_range_mode,
        traps.decoys,
        traps.twin_paths,
        traps.long_way_round,
        traps.weak_votes,
        traps.cancelling_pair,
        traps.cancellation_trap,
        traps.norm_trap,
        parts.outweighed,
        parts.twin_heads,
        parts.twin_neurons,
        parts.borrowed_constant,
    )
}
"""Every mechanism that can be planted, by name."""


def planted_names() -> dict[str, str]:
    """The names there are, each with one line on its mechanism."""
    return {name: (m.__doc__ or "").splitlines()[0] for name, m in MECHANISMS.items()}


def plant(
    name: str,
    *,
    seed: int = 0,
    width: int = 16,
    topk: float | None = None,
    sink: bool = False,
    noise: float = 0.0,
) -> Planted:
    """Wire the model of a name.

    Args:
        name: one of ``planted_names()``.
        seed: of the places of channels, the prompts, the reference and the noise.
        width: channels of the residual stream.
        topk: the fraction that activation top-k keeps at every site, None for none.
        sink: whether heads may attend to nothing.
        noise: the density of inert weights around the mechanism.

    Raises:
        UsageError: if there is no such name, or a variation is out of range.
    """
    if name not in MECHANISMS:
        near = get_close_matches(name, MECHANISMS, n=3, cutoff=0.4) or list(MECHANISMS)
        raise UsageError(
            f"no planted model {name!r}; the nearest names are {', '.join(near)}. "
            "'circuitkit plant --list' shows all."
        )
    variation = Variation(seed=seed, width=width, topk=topk, sink=sink, noise=noise)
    plan = MECHANISMS[name](variation)
    lay_noise(plan.wiring)
    widths = plan.wiring.arch.widths
    return Planted(
        name=name,
        about=planted_names()[name],
        variation=variation,
        model=plan.wiring.model,
        tokenizer=word_tokenizer(plan.wiring.tokens),
        reference=random_text(len(plan.wiring.tokens), seed),
        task_lines=task_lines(plan.answers, plan.sides, plan.ood, seed),
        mechanism=NodeSet.of(plan.mechanism, widths),
        wired=tuple(NodeSet.of(nodes, widths) for nodes in plan.circuits),
        is_trap=plan.is_trap,
    )
