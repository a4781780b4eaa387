"""Resume: the finished parts of a stopped extraction, so that it continues to the same bytes.

In: a folder and the inputs of an extraction. Out: the ablation values, every finished ranking and
restart, and what a restart has decided so far, read back exactly, if they are of the same inputs;
else nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.reference import sample_sha256
from circuitkit.circuit import CircuitFolder
from circuitkit.circuit.folder import SEARCH
from circuitkit.errors import CircuitError
from circuitkit.extraction.answers import Answers
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.mask_learning import PruningConfig, Scores
from circuitkit.extraction.means import Means
from circuitkit.extraction.search import Restart
from circuitkit.files import read_bounded, remove, sha256, write_whole
from circuitkit.nodes import Node, NodeSet, Site
from circuitkit.provenance import record
from circuitkit.task import Task

_FORMAT = "circuitkit.search/1"
_MAX_BYTES = 2**31


@dataclass(slots=True)
class SavedSearch:
    """The finished parts of one extraction, in a folder or (None) nowhere."""

    folder: CircuitFolder | None = None
    key: str = ""
    parts: dict[str, Any] | None = None
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def begin(self, key: str, *, resume: bool = True) -> None:
        """Continue from what the folder holds under this key; ignore what has another.

        What is there stays until the first part of this search is kept.
        """
        found = self._read() if resume else {}
        self.key, self.parts = key, found["parts"] if found.get("key") == key else {}

    @property
    def key_in_folder(self) -> str | None:
        """The key of the extraction of which the folder holds finished parts."""
        return self._read().get("key")

    def _read(self) -> dict[str, Any]:
        """What the file holds; nothing where there is none, or none of this format."""
        if self.path is None or not self.path.exists():
            return {}
        data = read_bounded(self.path, CircuitError, "the finished parts of a search", _MAX_BYTES)
        try:
            found = json.loads(data)
        except ValueError:
            return {}
        is_ours = isinstance(found, dict) and found.get("format") == _FORMAT
        return found if is_ours else {}

    @property
    def path(self) -> Path | None:
        """The file that holds the finished parts."""
        return None if self.folder is None else self.folder.path / SEARCH

    @property
    def is_begun(self) -> bool:
        """Whether there is anything of this extraction to continue from."""
        return bool(self.folder and self.parts)

    def means(self, widths: Mapping[Site, int]) -> Means | None:
        """The ablation values, if they are those of this extraction."""
        known = (self.parts or {}).get("means")
        if self.folder is None or known is None:
            return None
        means = Means.load(self.folder.path, widths)
        return means if means.sha256 == known else None

    def keep_means(self, means: Means) -> None:
        """Write the ablation values, then record that they are of this extraction.

        A circuit that was found under others is removed, with all that was made from it.
        """
        if self.folder is not None:
            self.folder.forget_circuit()
            means.save(self.folder.path)
            self._keep("means", means.sha256)

    def scores(self, index: int | str, widths: Mapping[Site, int]) -> Scores | None:
        """The ranking of a restart."""
        saved = (self.parts or {}).get(f"scores {index}")
        return None if saved is None else _read_scores(saved, widths)

    def keep_scores(self, index: int | str, scores: Scores) -> None:
        """Write the ranking of a restart."""
        self._keep(f"scores {index}", _plain_scores(scores))

    def answers(self, index: int | str) -> Answers | None:
        """What a restart has decided so far; None where nothing is kept."""
        if self.path is None:
            return None
        name = f"answers {index}"
        known = dict((self.parts or {}).get(name, {}))
        return Answers(known, lambda known: self._keep(name, known))

    def restart(self, index: int | str, scores: Scores, learning: PruningConfig) -> Restart | None:
        """The result of a restart that began with these scores."""
        saved = (self.parts or {}).get(f"restart {index}")
        if saved is None:
            return None
        nodes = _read_nodes(saved["nodes"], scores.learned.widths)
        return Restart(**saved | {"nodes": nodes, "scores": scores, "learning": learning})

    def keep_restart(self, index: int | str, restart: Restart) -> None:
        """Write the result of a restart, in the place of what it decided on the way."""
        saved = {name: getattr(restart, name) for name in ("outcome", "n_edges", "n_judged")}
        saved |= {"nodes": list(map(str, restart.nodes))}
        self._keep(f"restart {index}", saved, instead_of=f"answers {index}")

    def again(self) -> tuple[str, ...] | None:
        """The families that are searched again; None where it is not decided."""
        saved = (self.parts or {}).get("again")
        return tuple(map(str, saved)) if isinstance(saved, list) else None

    def keep_again(self, names: Sequence[str]) -> None:
        """Write them, for the resumed search to keep to; no file where there are none."""
        if names:
            self._keep("again", list(names))
        else:
            self.end()

    def end(self) -> None:
        """Remove the file: the circuit is written."""
        if self.path is not None:
            remove(self.path)

    def _keep(self, name: str, part: Any, instead_of: str = "") -> None:
        if self.path is None or self.parts is None:
            return
        with self._lock:
            self.parts.pop(instead_of, None)
            self.parts[name] = part
            content = {"format": _FORMAT, "key": self.key, "parts": self.parts}
            write_whole(self.path, json.dumps(content) + "\n")


def _plain_scores(scores: Scores) -> dict[str, Any]:
    return {
        "ranks": {str(site): rank.tolist() for site, rank in scores.ranks.items()},
        "learned": list(map(str, scores.learned)),
        "history": scores.history,
        "within": _plain_nodes(scores.within),
        "discretised": _plain_nodes(scores.discretised),
        "n_judged": scores.n_judged,
    }


def _plain_nodes(nodes: NodeSet | None) -> list[str] | None:
    return None if nodes is None else list(map(str, nodes))


def _read_scores(saved: Mapping[str, Any], widths: Mapping[Site, int]) -> Scores:
    """Exactly what was saved: JSON holds every float32 as a float64 that rounds back to it."""
    within, discretised = (
        None if saved[name] is None else _read_nodes(saved[name], widths)
        for name in ("within", "discretised")
    )
    return Scores(
        ranks={Site.parse(site): torch.tensor(rank) for site, rank in saved["ranks"].items()},
        learned=_read_nodes(saved["learned"], widths),
        history=tuple((loss, n, pressure) for loss, n, pressure in saved["history"]),
        within=within,
        discretised=discretised,
        n_judged=saved["n_judged"],
    )


def _read_nodes(names: list[str], widths: Mapping[Site, int] | None) -> NodeSet:
    return NodeSet.of(map(Node.parse, names), widths)


def search_key(
    checkpoint: Checkpoint,
    task: Task,
    config: ExtractConfig,
    reference: Tensor | None,
    within: NodeSet | None,
) -> str:
    """One hash over everything that an extraction depends on, versions included."""
    about = {
        "checkpoint": checkpoint.sha256,
        "task": task.sha256,
        "reference": None if reference is None else sample_sha256(reference),
        "within": _plain_nodes(within),
        "made by": record("circuitkit extract", config.to_dict(), config.seed).model_dump(),
    }
    return sha256(json.dumps(about, sort_keys=True).encode())
