"""Where the things are that a circuit was made from: ``sources.json``, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from circuitkit.circuit import Circuit
from circuitkit.errors import CircuitError
from circuitkit.files import read_bounded
from circuitkit.views.command import Origin

SOURCES = "sources.json"
TASK_FILES = ("task.toml", "task.jsonl")


def read_sources(folder: Path) -> dict[str, Any]:
    """What the folder says of its sources; nothing if it was not made by ``extract``."""
    path = folder / SOURCES
    if not path.exists():
        return {}
    try:
        sources = json.loads(read_bounded(path, CircuitError, "a record of sources"))
    except ValueError as error:
        raise CircuitError(f"{path} is not JSON: {error}. Extract the circuit again.") from None
    return sources if isinstance(sources, dict) else {}


def origin_of(folder: Path, circuit: Circuit) -> Origin | None:
    """How a command names what the circuit was made from; None if the folder does not tell."""
    if not (sources := read_sources(folder)):
        return None
    copies = (f"DIR/{name}" for name in TASK_FILES if (folder / name).exists())
    return Origin(
        checkpoint=sources.get("checkpoint", circuit.checkpoint.name),
        task=next(copies, circuit.task.name),
        reference=sources.get("reference"),
    )
