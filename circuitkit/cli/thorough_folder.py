"""A circuit folder as the long suite sees it: how it was searched for, and what lies beside.

In: a folder made by ``extract``. Out: the settings of its search, the circuits of other tasks
in the folders next to it, and a place to keep findings in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from circuitkit.circuit import Circuit
from circuitkit.cli.circuit_folder import beside, task_of
from circuitkit.errors import CircuitError, CircuitkitError
from circuitkit.extraction import ExtractConfig, PruningConfig
from circuitkit.extraction.extract import FILE as PRUNING
from circuitkit.files import read_bounded
from circuitkit.validation import Sibling, Thorough
from circuitkit.validation.thorough.saved import FILE as FINDINGS


def thorough_of(folder: Path, circuit: Circuit) -> Thorough:
    """What the long suite needs: the settings of the extraction, and the circuits beside."""
    return Thorough(
        search=_search_of(folder, circuit),
        siblings=tuple(_siblings(folder, circuit)),
        folder=folder,
    )


def _search_of(folder: Path, circuit: Circuit) -> ExtractConfig:
    """The settings in ``pruning.json``, of those tuned the chosen; a plain search's if missing."""
    path = folder / PRUNING
    if not path.exists():
        return ExtractConfig(seed=circuit.seed)
    try:
        record = json.loads(read_bounded(path, CircuitError, "a record of the search"))
        chosen = record["restarts"][record["chosen_restart"]]["pruning"]
        return ExtractConfig(**{**record["config"], "pruning": PruningConfig(**chosen)})
    except (ValueError, LookupError, TypeError) as error:
        raise CircuitError(
            f"{path} does not hold the settings of an extraction: {error!r}. Extract again."
        ) from None


def _siblings(folder: Path, circuit: Circuit) -> Iterator[Sibling]:
    """Other tasks' circuits in the folders beside, of this checkpoint and these means."""
    for path, other in beside(folder, circuit):
        if other.means_sha256 != circuit.means_sha256:
            continue
        with suppress(CircuitkitError):  # a broken task is no help, and no fault of this circuit
            yield Sibling(task=task_of(path, other), circuit=other)


def forget_findings(folder: Path) -> None:
    """Delete the findings kept on the way: the validation holds them all."""
    (folder / FINDINGS).unlink(missing_ok=True)
