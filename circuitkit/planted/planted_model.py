"""A planted model as a whole, and the folder it is saved to.

In: a wired model with its prompts. Out: a checkpoint folder that also holds ``task.jsonl``
and ``truth.json``, with the smallest circuits that brute force found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor

from circuitkit.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from circuitkit.extraction import measure_means
from circuitkit.files import write_whole
from circuitkit.model import Transformer
from circuitkit.nodes import NodeSet
from circuitkit.planted.truth import Truth, find_truth
from circuitkit.planted.variation import Variation
from circuitkit.task import Task, load_task

FORMAT = "circuitkit.truth/1"
TASK, TABLE, TRUTH = "task.jsonl", "task.csv", "truth.json"
TARGET_NATS = 0.15
_MANY = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A model wired by hand, with all that extraction needs.

    ``mechanism`` holds the nodes through which the model does the task, ``wired`` the smallest
    circuits that this should give, which ``find_truth`` checks. In a trap (``is_trap``)
    a smallest circuit works only because something else is ablated. ``wrong`` and
    ``smallest_is`` say what is wrong with some circuits (``wrong_circuits.WHY``); ``inert``
    are the nodes of noise. Where prompts have forms, ``by_form`` are the smallest circuits of
    each form, and ``outcome`` is ``one``, ``nested``, ``either`` or ``several``.
    """

    name: str
    about: str
    variation: Variation
    model: Transformer
    tokenizer: Tokenizer
    reference: Int[Tensor, "n length"]
    task_lines: str
    mechanism: NodeSet
    wired: tuple[NodeSet, ...]
    is_trap: bool
    smallest_is: str
    wrong: Mapping[str, NodeSet]
    inert: NodeSet
    by_form: Mapping[str, tuple[NodeSet, ...]]
    outcome: str

    def save(self, folder: str | Path) -> Truth:
        """Write checkpoint, task and truth, and return what brute force found.

        Raises:
            UsageError: if the folder cannot be written to.
        """
        folder = Path(folder)
        with TemporaryDirectory() as elsewhere:  # the search is long, and may be interrupted
            self._write(Path(elsewhere))
            truth = truth_of(load_checkpoint(elsewhere), load_task(Path(elsewhere) / TASK))
        self._write(folder)
        write_whole(folder / TRUTH, json.dumps(self._to_dict(truth), indent=1) + "\n")
        return truth

    def _write(self, folder: Path) -> None:
        write_whole(folder / TASK, self.task_lines)
        save_checkpoint(
            folder, self.model, name=self.name, tokenizer=self.tokenizer, reference=self.reference
        )

    def _to_dict(self, truth: Truth) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "name": self.name,
            "about": self.about,
            "variation": asdict(self.variation),
            "is_trap": self.is_trap,
            "target_loss_nats": truth.target_loss_nats,
            "n_nodes": len(truth.circuits[0]),
            "circuits": [
                {
                    "nodes": [str(node) for node in nodes],
                    "edges": [[str(e.source), str(e.target), e.weight] for e in edges],
                }
                for nodes, edges in zip(truth.circuits, truth.edges, strict=True)
            ],
            "mechanism": [str(node) for node in self.mechanism],
            **({"families": self._families()} if self.outcome else {}),
            "loss_nats": truth.loss_nats,
            "refused_nats": truth.refused_nats,
            "n_alive": truth.n_alive,
            "n_tried": truth.n_tried,
        }

    def _families(self) -> dict[str, Any]:
        """What is true of the forms: the outcome, and the smallest circuits of each."""
        circuits = {
            form: [[str(node) for node in nodes] for nodes in circuits]
            for form, circuits in self.by_form.items()
        }
        return {"outcome": self.outcome, "circuits": circuits}


def truth_of(checkpoint: Checkpoint, task: Task, target_loss_nats: float = TARGET_NATS) -> Truth:
    """Brute force on a saved model, under the means and selection pairs that extraction uses.

    Raises:
        UsageError: if the model is too large to try, or does not do the task.
    """
    model = checkpoint.load_model()
    means = measure_means(model, checkpoint.load_reference(), checkpoint_sha256=checkpoint.sha256)
    pairs = checkpoint.ask(task, "select", _MANY)
    return find_truth(model, pairs, means, target_loss_nats)
