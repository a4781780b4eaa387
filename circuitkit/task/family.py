"""Families: the pairs of a task, sorted by a label, each family a small task of its own.

In: a task, a label for every pair, how many pairs a family should have. Out: families with pairs
in every split, and notes on what was left out. A label is a form (the part of a template's name
before ``/``), a column of a file of pairs, or anything a caller computes. Source: ours
(docs/families.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from circuitkit.errors import TaskError
from circuitkit.task.pair_rows import MAX_PAIRS
from circuitkit.task.pair_sources import FixedPairs
from circuitkit.task.pairs import Pair, Prompt, Split, forms_in
from circuitkit.task.tasks import Task, task_of_pairs

FORMS = "forms"
EFFECTS = "effects"
"""The names of the labellings by the forms of a task, and by what nodes do on its pairs."""

MOST_FAMILIES = 12
FEWEST_TEMPLATES: Mapping[Split, int] = {"train": 2, "select": 4, "test": 4}
"""Of a family in each split: fewer are no evidence, and leave nothing to choose nodes by."""

PARTS: tuple[Split, ...] = ("train", "select", "test")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

LabelsOf = Callable[[Sequence[Pair]], Sequence[str]]
"""The label of each of some pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Pairs of one label; ``folder`` is a name that any file system takes."""

    name: str
    folder: str
    pairs: Mapping[Split, tuple[Pair, ...]]

    def templates(self, split: Split) -> tuple[str, ...]:
        """The templates of a split, each once."""
        return tuple(dict.fromkeys(pair.template for pair in self.pairs[split]))

    def task_of(self, task: Task) -> Task:
        """The family as a task, the content of which is a file of its pairs."""
        lines = [_line(pair, split) for split in PARTS for pair in self.pairs[split]]
        return task_of_pairs(
            f"{task.name}.{self.folder}", "".join(line + "\n" for line in lines).encode(),
            question=f"{task.question} ({self.name})", source=task.source,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """The families of a task ``by`` a labelling.

    ``left_out`` names those that cannot be compared, ``notes`` say why, and what was moved.
    """

    by: str
    families: tuple[Family, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.families)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(family.name for family in self.families)

    def without(self, left_out: Mapping[str, str]) -> Families:
        """The other families, with a note on each that is left out: its name, and why."""
        kept = tuple(f for f in self.families if f.name not in left_out)
        notes = tuple(f"{name} is left out: {why}" for name, why in left_out.items())
        return replace(
            self, families=kept, notes=(*self.notes, *notes), left_out=(*self.left_out, *left_out)
        )


def forms_of(task: Task) -> tuple[str, ...]:
    """The forms of a task's templates; none where not every template has one."""
    templates = [template for split in PARTS for template in task.templates(split)]
    return tuple(sorted(set(forms_in(templates))))


def columns_of(task: Task) -> tuple[str, ...]:
    """The columns of a task's file that sort its pairs into families."""
    some = task.pairs("test", 1) if task.templates("test") else []
    return tuple(column for pair in some for column, _ in pair.families)


def labels_by(task: Task, by: str) -> LabelsOf:
    """Labels by form or by a column of the task's file.

    Raises:
        TaskError: if the task has no forms, one form only, or no such column.
    """
    if by != FORMS:
        if by not in columns_of(task):
            raise TaskError(_no_column(task, by))
        return lambda pairs: [dict(pair.families)[by] for pair in pairs]
    forms = forms_of(task)
    if len(forms) < 2:
        found = f"one form, {forms[0]}" if forms else "templates without forms (FORM/FRAME)"
        raise TaskError(
            f"task {task.name} has {found}: there is nothing to compare by form. Ask by effects, "
            "or by a column named family or family_… of a file of pairs."
        )
    return lambda pairs: forms_in([pair.template for pair in pairs])


def _no_column(task: Task, by: str) -> str:
    found = ", ".join(columns_of(task)) or "none"
    return (
        f"task {task.name}: no families by {by!r}; expected forms, effects, or a column named "
        f"family or family_… of a file of pairs (this one has: {found})"
    )


def sort_pairs(
    task: Task, by: str, labels_of: LabelsOf, n_pairs: Mapping[Split, int], seed: int = 0
) -> Families:
    """Sort a task's pairs by their labels: up to so many of each family in each split.

    Test pairs stay what they are. A family with too few templates to choose nodes by gets some of
    its training templates for that.

    Raises:
        TaskError: if there are more than twelve families, or a file names one only.
    """
    is_listed = by != EFFECTS and isinstance(task.origin, FixedPairs)
    drawn = {
        split: _by_label(task, labels_of, split, n_pairs[split], seed, every=is_listed)
        for split in PARTS
    }
    names = sorted({name for found in drawn.values() for name in found})
    if by != EFFECTS and len(names) == 1:
        raise TaskError(
            f"task {task.name}: one family by {by}, {names[0]}: there is nothing to compare. Ask "
            "by effects, or by another column."
        )
    if len(names) > MOST_FAMILIES:
        raise TaskError(
            f"task {task.name}: {len(names)} families by {by}, such as {', '.join(names[:3])}; "
            f"expected at most {MOST_FAMILIES}. Sort the pairs into fewer."
        )
    families, moved = [], {}
    for name, folder in _folders(names).items():
        pairs: dict[Split, list[Pair]] = {s: drawn[s].get(name, []) for s in PARTS}
        moved[name] = _with_selection(pairs)
        families.append(
            Family(name=name, folder=folder, pairs={s: tuple(p) for s, p in pairs.items()})
        )
    few = {f.name: why for f in families if (why := _too_few(f))}
    notes = tuple(
        f"{name}: {n} of its training templates are used to choose nodes"
        for name, n in moved.items()
        if n and name not in few
    )
    return Families(by=by, families=tuple(families), notes=notes).without(few)


def _folders(names: Sequence[str]) -> dict[str, str]:
    """A folder for each family: its name where that is plain, else one that no other has.

    Some file systems ignore case, so that it makes no difference.
    """
    folders: dict[str, str] = {}
    taken = {name.casefold() for name in names}
    for i, name in enumerate(names):
        used = {folder.casefold() for folder in folders.values()}
        if _PLAIN.fullmatch(name) and name.casefold() not in used:
            folders[name] = name
        else:
            free = (f"family{n}" for n in count(i + 1))
            folders[name] = next(f for f in free if f not in taken | used)
    return folders


def _by_label(
    task: Task, labels_of: LabelsOf, split: Split, n: int, seed: int, *, every: bool
) -> dict[str, list[Pair]]:
    """Pairs of a split by label, ``every`` pair there is; else the more, the more labels.

    Among every pair of a file the rare families are whole. Effects take a run of the model.
    """
    pairs = task.up_to(split, MAX_PAIRS if every else n, seed)
    if not every and (n_labels := len(set(labels_of(pairs)))) > 1:
        pairs = task.up_to(split, n * n_labels, seed)
    found: dict[str, list[Pair]] = {}
    for pair, label in zip(pairs, labels_of(pairs), strict=True):
        found.setdefault(label, []).append(pair)
    return {label: those[:n] for label, those in found.items()}


def _with_selection(pairs: dict[Split, list[Pair]]) -> int:
    """Move training templates to the selection split until it has enough; how many moved."""
    train = sorted({pair.template for pair in pairs["train"]})
    lacking = FEWEST_TEMPLATES["select"] - len({pair.template for pair in pairs["select"]})
    n = max(0, min(lacking, len(train) - FEWEST_TEMPLATES["train"]))
    moved = set(train[:n])
    pairs["select"] = pairs["select"] + [p for p in pairs["train"] if p.template in moved]
    pairs["train"] = [p for p in pairs["train"] if p.template not in moved]
    return n


def _too_few(family: Family) -> str:
    """Why a family cannot be compared; empty if it can."""
    counts: dict[Split, int] = {split: len(family.templates(split)) for split in PARTS}
    if all(counts[split] >= fewest for split, fewest in FEWEST_TEMPLATES.items()):
        return ""
    shown, expected = map(_counted, (counts, FEWEST_TEMPLATES))
    return f"it has {shown} templates; expected at least {expected}"


def _counted(templates: Mapping[Split, int]) -> str:
    return ", ".join(f"{n} {split}" for split, n in templates.items())


def _line(pair: Pair, split: Split) -> str:
    sides = {"a": _side(pair.a), "b": _side(pair.b)}
    return json.dumps({**sides, "template": pair.template, "split": split})


def _side(prompt: Prompt) -> dict[str, Any]:
    asked = prompt.text if prompt.tokens is None else list(prompt.tokens)
    return {"prompt": asked, "answer": prompt.answer}
