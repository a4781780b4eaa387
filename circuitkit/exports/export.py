"""Write the circuit of a folder in a format that others read.

A ``program`` is one Python file that needs NumPy alone; ``graphml`` and ``node-link`` are graphs,
for networkx and what reads its formats; ``mask`` is a boolean tensor a site.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from circuitkit.arguments import checked_call
from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.of_circuit import check_nodes, checkpoint_of
from circuitkit.circuit import Circuit, CircuitFolder, Rung
from circuitkit.circuit.folder import as_output
from circuitkit.errors import CircuitError, UsageError
from circuitkit.exports.fold_folder import fold_folder
from circuitkit.exports.mask_file import mask_bytes
from circuitkit.exports.run_program import largest_error
from circuitkit.files import write_whole
from circuitkit.views.graph_export import graphml, node_link
from circuitkit.views.numpy_program import program_text
from circuitkit.views.program_about import WITHIN

Format = Literal["program", "graphml", "node-link", "mask"]
FORMATS: tuple[Format, ...] = get_args(Format)
_DIGITS = (6, 7, 8, 9, 17)
"""A program has the fewest digits with which it is near enough."""
_FEW = 16


@checked_call
def export(
    folder: str | Path | CircuitFolder,
    out: str | Path,
    *,
    format: Format,
    checkpoint: Checkpoint | str | Path | None = None,
    rung: Rung | None = None,
) -> Path:
    """Write the circuit of a folder to a file; the same circuit gives the same bytes.

    Args:
        folder: as ``extract`` leaves it.
        out: the file to write.
        format: ``program``, ``graphml``, ``node-link`` or ``mask``.
        checkpoint: where the model is, if it is no longer where it was; not for a graph.
        rung: which circuit, if the folder holds two; None for the highest.

    Raises:
        CircuitError: if the folder holds no circuit, or it cannot be written as a program.
        MismatchError: if checkpoint, task or means are not those of the circuit.
        UsageError: if the file cannot be written, or is one of a circuit folder, or a graph is
            asked for and a checkpoint given.

    Examples:
        >>> import circuitkit as ck
        >>> ck.export("out/for_while", "out/for_while.graphml", format="graphml").name
        'for_while.graphml'
    """
    opened, out = CircuitFolder.open(folder), as_output(out)
    circuit = opened.at(rung)
    if out.is_dir():
        raise UsageError(f"{out} is a folder; expected the name of a file to write.")
    write_whole(out, _content(opened, circuit, format, checkpoint))
    return out


def _content(
    opened: CircuitFolder, circuit: Circuit, format: Format,
    checkpoint: Checkpoint | str | Path | None,
) -> str | bytes:  # fmt: skip
    if format in ("graphml", "node-link"):
        if checkpoint is not None:
            raise UsageError(f"format {format!r} needs no checkpoint. Leave it out.")
        return graphml(circuit) if format == "graphml" else node_link(circuit)
    if format == "mask":
        found = checkpoint_of(opened, circuit, checkpoint)
        check_nodes(circuit, found.architecture.widths)
        return mask_bytes(circuit, found.architecture.widths)
    return _program(opened, circuit, checkpoint)


def _program(
    opened: CircuitFolder, circuit: Circuit, checkpoint: Checkpoint | str | Path | None
) -> str:
    """The program with the fewest digits that gives the circuit's logit differences."""
    folded = fold_folder(opened, circuit, checkpoint)
    error = 0.0
    for digits in _DIGITS:
        text = program_text(circuit, folded, digits)
        for tried in (folded.tried[::_FEW], folded.tried):  # a few say soon that it is not
            error = largest_error(text, tried)
            if error > WITHIN:
                break
        else:
            return text
    raise CircuitError(
        f"the program is {error:.1e} nats away from the circuit on a prompt, expected at most "
        f"{WITHIN:g}: two channels that compete in activation top-k are too close for it. Export "
        "the circuit as graphml or node-link instead."
    )
