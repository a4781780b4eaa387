"""Find the families of a task on a checkpoint, and leave out those that the model does not do.

In: a checkpoint, a task, how to sort its pairs: by form, by a column of its file, or by the
effects of nodes on each pair. Out: ``FoundFamilies``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint, load_checkpoint
from circuitkit.checkpoints.competence_json import MAX_LOSS_NATS, MIN_ACCURACY
from circuitkit.checkpoints.token_names import token_names
from circuitkit.circuit.transfer import WHOLE
from circuitkit.errors import TaskError
from circuitkit.extraction.masked_model import tapped_differences
from circuitkit.families.clusters import Clusters, find_clusters
from circuitkit.families.goes_with import GoesWith, goes_with
from circuitkit.families.pair_effects import pair_effects
from circuitkit.model import EncodedPairs, Transformer, hits, pair_losses
from circuitkit.model.device import device_named, repeatable
from circuitkit.nodes import Node
from circuitkit.progress import Progress, shown, silent
from circuitkit.task import Pair, Split, Task, load_task
from circuitkit.task.family import EFFECTS, FORMS, PARTS, Families, forms_of, labels_by, sort_pairs

N_PAIRS: Mapping[Split, int] = {"train": 512, "select": 128, "test": 128}
"""Pairs of a family."""

_N_CLUSTERED = 256
"""Training pairs that clusters are found on."""

_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFamilies:
    """Families, with what the model does on each.

    ``loss_nats`` and ``accuracy`` are the model's own, on the test pairs of each family kept or
    left out. ``goes_with`` says which property of a pair says its family. Where the pairs were
    sorted by effects, ``strength`` is the stability of every number of clusters, and ``nodes``
    are those of the largest effect in each family.
    """

    families: Families
    loss_nats: Mapping[str, float]
    accuracy: Mapping[str, float]
    goes_with: tuple[GoesWith, ...] = ()
    strength: Mapping[int, float] | None = None
    nodes: Mapping[str, tuple[str, ...]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``families --json`` prints them."""
        return {
            "by": self.families.by,
            "families": [
                {
                    "name": family.name,
                    "n_pairs": {split: len(family.pairs[split]) for split in PARTS},
                    "n_templates": {split: len(family.templates(split)) for split in PARTS},
                    "loss_nats": round(self.loss_nats[family.name], 4),
                    "accuracy": round(self.accuracy[family.name], 4),
                    **({"nodes": list(self.nodes[family.name])} if self.nodes else {}),
                }
                for family in self.families.families
            ],
            "goes_with": [
                {"property": each.name, "share": round(each.share, 4),
                 "by_chance": round(each.by_chance, 4)}
                for each in self.goes_with
            ],
            "stability": self.strength and {str(k): round(s, 4) for k, s in self.strength.items()},
            "notes": list(self.families.notes),
        }  # fmt: skip


@checked_call
def find_families(
    checkpoint: Checkpoint | str | Path,
    task: Task | str | Path,
    *,
    by: str | None = None,
    n_pairs: Mapping[Split, int] = N_PAIRS,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> FoundFamilies:
    """Sort the pairs of a task into families.

    Args:
        checkpoint: the model, a bundled name or a folder.
        task: a task, a built-in name or a file.
        by: ``forms``; ``effects``, for clusters of pairs by what nodes do on them; or a column of
            the task's file. None is by forms where the task has several, else by effects.
        n_pairs: how many pairs of each family, in every split.
        seed: of drawing the pairs and of clustering.
        device: where the model computes: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called after each step; None shows a bar in a terminal or a notebook.

    Raises:
        TaskError: if the pairs cannot be sorted so, or not asked of this checkpoint.
        UsageError: if an argument is of the wrong kind, or the device is not there.

    Examples:
        >>> import circuitkit as ck
        >>> # circuitkit plant two_mechanisms --out out/forms
        >>> found = ck.find_families("out/forms", "out/forms/task.jsonl", by="forms")
        >>> {name: accuracy > 0.9 for name, accuracy in sorted(found.accuracy.items())}
        {'far': True, 'near': True}
    """
    place = device_named(device)
    checkpoint, task = load_checkpoint(checkpoint), load_task(task)
    by = by or default_by(task)
    with shown(progress) as report, repeatable(place):
        asked = _Asked(checkpoint=checkpoint, task=task, model=checkpoint.load_model(place))
        if by == EFFECTS:
            return asked.by_effects(n_pairs, seed, report)
        return asked.described(sort_pairs(asked.usable, by, labels_by(task, by), n_pairs, seed))


def default_by(task: Task) -> str:
    """By forms where there are several, else by effects."""
    return FORMS if len(forms_of(task)) > 1 else EFFECTS


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A task asked of a model."""

    checkpoint: Checkpoint
    task: Task
    model: Transformer

    @cached_property
    def usable(self) -> Task:
        """The task without pairs that this checkpoint cannot be asked."""
        return self.checkpoint.usable(self.task)

    @cached_property
    def token_names(self) -> tuple[str, ...]:
        """The names of all tokens."""
        return token_names(self.checkpoint)

    def encoded(self, pairs: Sequence[Pair]) -> EncodedPairs:
        """The pairs as the model reads them."""
        return self.checkpoint.encode(list(pairs))

    def by_effects(
        self, n_pairs: Mapping[Split, int], seed: int, progress: Progress
    ) -> FoundFamilies:
        """Families that are clusters of effects, named by their size."""
        some = self.encoded(self.usable.up_to("train", _N_CLUSTERED, seed))
        effects = pair_effects(self.model, some, progress).double().numpy()
        clusters = find_clusters(effects, some.templates, seed)

        def labels_of(pairs: Sequence[Pair]) -> list[str]:
            found = pair_effects(self.model, self.encoded(pairs), silent).double().numpy()
            return [f"cluster{label + 1}" for label in clusters.labels(found)]

        found = self.described(sort_pairs(self.usable, EFFECTS, labels_of, n_pairs, seed))
        return replace(found, strength=clusters.strength, nodes=self._named(clusters))

    def _named(self, clusters: Clusters) -> dict[str, tuple[str, ...]]:
        """The nodes of the largest effect in each cluster."""
        nodes = [Node(s, c) for s, width in self.model.arch.widths.items() for c in range(width)]
        return {
            f"cluster{i + 1}": tuple(
                str(nodes[clusters.nodes[at]]) for at in np.argsort(-np.abs(centre))[:_NAMED]
            )
            for i, centre in enumerate(clusters.centres)
        }

    def described(self, families: Families) -> FoundFamilies:
        """With what the model does on each family; those that it does not do are left out."""
        if any(family.name == WHOLE for family in families.families):
            raise TaskError(
                f"task {self.task.name}: a family is called {WHOLE!r}, expected any other name: it "
                "is the row of the circuit of the whole task. Rename the family."
            )
        losses, accuracies, left_out = {}, {}, {}
        for family in families.families:
            pairs = self.encoded(family.pairs["test"])
            d = tapped_differences(self.model, pairs, None)
            loss, accuracy = float(pair_losses(d).mean()), float(hits(d).mean())
            losses[family.name], accuracies[family.name] = loss, accuracy
            if loss > MAX_LOSS_NATS or accuracy < MIN_ACCURACY:
                left_out[family.name] = (
                    f"the model does not do it: loss {loss:.3f} nats, accuracy {accuracy:.3f} on "
                    f"{len(pairs)} test pairs; expected at most {MAX_LOSS_NATS} and at least "
                    f"{MIN_ACCURACY:.2f}"
                )
        kept = families.without(left_out)
        return FoundFamilies(
            families=kept, loss_nats=losses, accuracy=accuracies,
            goes_with=self._goes_with(kept),
        )  # fmt: skip

    def _goes_with(self, families: Families) -> tuple[GoesWith, ...]:
        """What says the family of a pair, but for what the families are sorted by."""
        if len(families) < 2:
            return ()
        sorted_pairs = [(p, f.name) for f in families.families for p in f.pairs["test"]]
        mixed = [sorted_pairs[i] for i in _shuffled(len(sorted_pairs))]
        pairs = self.encoded([pair for pair, _ in mixed])
        found = goes_with(pairs, [name for _, name in mixed], self.token_names)
        return tuple(each for each in found if (each.name, families.by) != ("form", FORMS))


def _shuffled(n: int) -> list[int]:
    """An order in which both halves hold pairs of every family."""
    return np.random.default_rng(0).permutation(n).tolist()
