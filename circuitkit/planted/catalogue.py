"""All planted models by name: a name and a variation in, a model with its question out."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Literal

from circuitkit.errors import UsageError
from circuitkit.nodes import NodeSet
from circuitkit.planted import copying, logic, parts, prompt_families, traps
from circuitkit.planted.gpt2_wiring import GPT2Variation
from circuitkit.planted.noise import lay_noise
from circuitkit.planted.plan import Plan
from circuitkit.planted.planted_model import Planted
from circuitkit.planted.planted_prompts import random_text, task_lines, word_tokenizer
from circuitkit.planted.variation import Variation

Format = Literal["circuitkit", "gpt2"]

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
        prompt_families.two_mechanisms,
        prompt_families.shared_entry,
        prompt_families.shared_exit,
        prompt_families.surface_forms,
        prompt_families.harder_form,
        prompt_families.either_way,
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
    width: int | None = None,
    topk: float | None = None,
    sink: bool = False,
    noise: float = 0.0,
    format: Format = "circuitkit",
) -> Planted:
    """Wire the model of a name.

    Args:
        name: one of ``planted_names()``.
        seed: of the places of channels, the prompts, the reference and the noise.
        width: channels of the residual stream; None for 16, or 64 in GPT-2's format.
        topk: the fraction that activation top-k keeps at every site, None for none.
        sink: whether heads may attend to nothing.
        noise: the density of inert weights around the mechanism.
        format: the architecture: ``circuitkit``, or ``gpt2`` as transformers runs it.

    Raises:
        UsageError: if there is no such name, a variation is out of range, or the plan does
            not work in this format.
    """
    if name not in MECHANISMS:
        near = get_close_matches(name, MECHANISMS, n=3, cutoff=0.4) or list(MECHANISMS)
        raise UsageError(
            f"no planted model {name!r}; the nearest names are {', '.join(near)}. "
            "'circuitkit plant --list' shows all."
        )
    kind = GPT2Variation if format == "gpt2" else Variation
    sized = {} if width is None else {"width": width}
    variation = kind(seed=seed, topk=topk, sink=sink, noise=noise, **sized)
    return planted_from(MECHANISMS[name](variation), name, planted_names()[name])


def planted_from(plan: Plan, name: str, about: str) -> Planted:
    """A planted model from a plan, with noise around it.

    Raises:
        UsageError: if the plan does not work in its format.
    """
    wiring, seed = plan.wiring, plan.wiring.variation.seed
    lay_noise(wiring)
    wiring.finish()
    widths = wiring.arch.widths
    return Planted(
        name=name,
        about=about,
        variation=wiring.variation,
        model=wiring.model,
        tokenizer=word_tokenizer(wiring.tokens, wiring.specials),
        reference=random_text(len(wiring.tokens), seed),
        task_lines=task_lines(plan.answers, plan.sides, plan.ood, seed, plan.form),
        mechanism=NodeSet.of(plan.mechanism, widths),
        wired=tuple(NodeSet.of(nodes, widths) for nodes in plan.circuits),
        is_trap=plan.is_trap,
        smallest_is=plan.smallest_is,
        wrong={kind: NodeSet.of(nodes, widths) for kind, nodes in plan.wrong.items()},
        inert=wiring.unwired(),
        by_form={
            form: tuple(NodeSet.of(nodes, widths) for nodes in circuits)
            for form, circuits in plan.by_form.items()
        },
        outcome=plan.outcome,
    )
