"""A plan: what is wired, which circuits it should have, and the prompts that ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from circuitkit.planted.planted_prompts import FormOf, Sides
from circuitkit.planted.wiring import Nodes, Wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A wired model with its question.

    Attributes:
        wiring: the model as built so far; noise may still be laid around it.
        mechanism: the nodes through which the whole model does the task.
        smallest: the smallest circuits as wired, where they are not the mechanism: several
            for two equal paths, a wrong smaller one for a trap. Compared with brute force.
        smallest_is: what is wrong with them where they are not the mechanism, one of
            ``wrong_circuits.WHY``.
        wrong: other circuits that meet the target or seem to, by what is wrong with them.
        answers: of the first and of the second prompt of every pair.
        sides: the prompts of a pair.
        is_trap: whether a smallest circuit works only because something else is ablated.
        ood: prompts on which a shortcut of the task fails and the model does not.
        form: the form that a layout's prompts have; None for prompts of one form.
        by_form: the smallest circuits of each form alone.
        outcome: what is true of the forms: ``one``, ``nested``, ``either`` or ``several``.
    """

    wiring: Wiring
    mechanism: Nodes
    answers: tuple[str, str]
    sides: Sides
    smallest: tuple[Nodes, ...] = ()
    smallest_is: str = ""
    wrong: Mapping[str, Nodes] = field(default_factory=dict)
    ood: Sides | None = None
    is_trap: bool = False
    form: FormOf | None = None
    by_form: Mapping[str, tuple[Nodes, ...]] = field(default_factory=dict)
    outcome: str = ""

    @property
    def circuits(self) -> tuple[Nodes, ...]:
        """The smallest circuits as wired."""
        return self.smallest or (self.mechanism,)
