"""Specific: knocking the circuit out harms its own task, and hardly any other.

The model is run on every other task that it does, with and without the circuit's nodes:
the built-in ones (by the checkpoint's ``competence.json``, else as measured here) and those
of the circuits in the folders beside this one. Nec is the share of the model's ability on a
task that the knockout removes. The typical other task, the median, may lose a fifth; so a few
related tasks, which rightly share nodes, do not fail the claim. Circuits beside this one are
knocked out too: the note has a row of the matrix for each, its own task first, then the
three that lose most and the median of the others.

Source: docs/validation.md#specific. The pass region is ours: the mirror image of ``necessary``,
where the circuit's own task must lose four fifths.

What can fool it: other tasks that have nothing in common with this one; a part shared by
everything harms everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from jaxtyping import Float
from torch import Tensor

from circuitkit.checkpoints.competence_json import Competence, does_task
from circuitkit.competence.ability import ability_of
from circuitkit.competence.measure import interval_of
from circuitkit.errors import TaskError
from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.findings import Claim, Finding
from circuitkit.model import LN2, EncodedPairs
from circuitkit.model.per_pair import losses_of
from circuitkit.nodes import NodeSet
from circuitkit.statistics.decision import joined
from circuitkit.statistics.intervals import Estimate, all_of, cluster_ratio
from circuitkit.task import Task, builtin_tasks, load_task
from circuitkit.validation.claim_test import Declared
from circuitkit.validation.claims.necessary import NECESSITY
from circuitkit.validation.controls.same_question import Question
from circuitkit.validation.search_trial import SearchTrial

CLAIM = Declared(
    id=Claim.SPECIFIC,
    suite="thorough",
    fooled_by="other tasks that have nothing in common with this one",
    needs=("other circuits",),
)

TYPICAL_HARM = 0.20
_PAIRS = 64
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A task with the model's logit differences on some pairs of it."""

    task: Task
    pairs: EncodedPairs
    differences: Float[Tensor, " rows"]

    @property
    def is_done(self) -> bool:
        """Whether the model does the task, by the bounds of a competence."""
        return does_task(*map(interval_of, ability_of(self.differences, self.pairs.templates)))


def check_specific(trial: SearchTrial) -> Finding:
    """Its own task loses at least 0.8 of its ability, the typical other one at most 0.2."""
    left_out = _LeftOut()
    others = list(_others(trial, left_out))
    if not others:
        note = joined("the checkpoint does no other task that could be asked", *left_out.notes())
        return Finding(claim=CLAIM.id, outcome="not_run", note=note)
    mine = _ask(trial, trial.task, trial.few[:_PAIRS])
    harms = [(other.task.name, _harm(trial, trial.nodes, other)) for other in others]
    own = _harm(trial, trial.nodes, mine)
    typical = Estimate(
        effect=median(harm.effect for _, harm in harms),
        low=median(harm.low for _, harm in harms),
        high=median(harm.high for _, harm in harms),
        method=f"{own.method}; medians over {len(harms)} tasks",
    )
    return Finding(
        claim=CLAIM.id,
        outcome=all_of(own.within(low=NECESSITY), typical.within(high=TYPICAL_HARM)),
        note=" | ".join(
            [
                f"its own task loses {own.effect:.2f}; the others: {_row(harms)}",
                *_rows_beside(trial, [mine, *others]),
                *left_out.notes(),
            ]
        ),
        **typical.fields(),
        unit="of its ability lost by the typical other task",
        threshold=f"upper bound ≤ {TYPICAL_HARM}, its own task at least {NECESSITY}",
        threshold_source="ours",
        n_pairs=sum(len(other.pairs) for other in others),
        n_clusters=sum(len(set(other.pairs.templates)) for other in others),
        n_draws=len(others),
        seeds=(trial.search.seed,),
        fooled_by=CLAIM.fooled_by,
    )


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """Tasks left out: those that ask the same, and those that cannot be asked."""

    same: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """Their names, or a number where they are many."""
        n, shown = len(self.unreadable), ", ".join(self.unreadable[:_NAMED])
        return [
            *([f"asks the same: {', '.join(self.same)}, not counted"] if self.same else []),
            *([f"{n} tasks cannot be asked of this checkpoint, such as {shown}"] if n else []),
        ]


def _others(trial: SearchTrial, left_out: _LeftOut) -> Iterator[_Asked]:
    """Every other task that the model does, siblings' first."""
    question = Question(trial.checkpoint, trial.task)
    seen = {trial.task.sha256}
    built_in = (load_task(name) for name in builtin_tasks())
    known = _known(trial)
    for task in (*(s.task for s in trial.siblings), *built_in):
        if task.sha256 in seen or not known.get(task.sha256, True):
            continue
        seen.add(task.sha256)
        try:
            pairs = trial.ask("test", _PAIRS, task)
            is_same = question.is_asked_by(task)
        except TaskError:  # another tokenizer's, or too long: no task of this checkpoint
            left_out.unreadable.append(task.name)
            continue
        if is_same:
            left_out.same.append(task.name)
            continue
        asked = _ask(trial, task, pairs)
        if asked.is_done:
            yield asked


def _known(trial: SearchTrial) -> dict[str, bool]:
    """What the checkpoint's ``competence.json`` says, if it is of this checkpoint."""
    competence = Competence.load(trial.checkpoint.path)
    if competence is None or competence.sha256 != trial.checkpoint.sha256:
        return {}
    return {row.sha256: row.does for row in competence.tasks}


def _ask(trial: SearchTrial, task: Task, pairs: EncodedPairs) -> _Asked:
    """The model on another task, run once for all circuits that are knocked out."""
    trial.passes += 1
    differences = tapped_differences(trial.model, pairs, None)
    return _Asked(task=task, pairs=pairs, differences=differences)


def _harm(trial: SearchTrial, nodes: NodeSet, asked: _Asked) -> Estimate:
    """Nec: the share of the model's ability on a task that is lost without the nodes."""
    model = losses_of(asked.differences)
    without = losses_of(trial.without(nodes, asked.pairs))
    return cluster_ratio(without - model, LN2 - model, asked.pairs.templates, trial.seed)


def _rows_beside(trial: SearchTrial, asked: Sequence[_Asked]) -> Iterator[str]:
    """A row for every circuit beside this one: its own task, then the others."""
    circuits = {s.task.sha256: s.circuit for s in trial.siblings}
    tasks = [a for a in asked if a.task.sha256 in {trial.task.sha256, *circuits}]
    for knocked in tasks:
        if knocked.task.sha256 not in circuits:
            continue
        channels = circuits[knocked.task.sha256].nodes.channels
        nodes = NodeSet(channels, trial.model.arch.widths)
        own = _harm(trial, nodes, knocked)
        harms = [(a.task.name, _harm(trial, nodes, a)) for a in tasks if a is not knocked]
        yield f"knockout of {knocked.task.name}: {own.effect:.2f}; the others: {_row(harms)}"


def _row(harms: Sequence[tuple[str, Estimate]]) -> str:
    """What tasks lose, the most harmed by name; two may have one name."""
    worst_first = sorted(harms, key=lambda item: -item[1].effect)
    named = ", ".join(f"{name} {harm.effect:.2f}" for name, harm in worst_first[:_NAMED])
    rest = [harm.effect for _, harm in worst_first[_NAMED:]]
    return f"{named}, the median of {len(rest)} more {median(rest):.2f}" if rest else named
