"""The columns of a study's results, declared as data: name, type, unit, what it holds.

Columns in ``MEASURED`` differ between two runs of the same cell; all others are the same.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

FORMAT = "circuitkit.results/1"

Type = Literal["string", "int64", "float64", "bool"]


class Column(NamedTuple):
    """A column: ``about`` is a sentence for the docs, ``unit`` is empty where there is none."""

    name: str
    type: Type
    unit: str
    about: str


COLUMNS = (
    Column("cell", "string", "", "SHA-256 of everything that goes into the cell; its folder"),
    Column("kind", "string", "", "training, extraction or families"),
    Column("checkpoint", "string", "", "the checkpoint's name"),
    Column("checkpoint_sha256", "string", "", "its hash; empty if it could not be made"),
    Column("task", "string", "", "the task as the study names it; empty for a training"),
    Column("task_sha256", "string", "", "the hash of the task's file"),
    Column("method", "string", "", "pruning, attribution, random, paper"),
    Column("rung", "string", "", "smallest or trusted"),
    Column("seed", "int64", "", "seed of the extraction, or of the training"),
    Column("target_loss_nats", "float64", "nats", "the target loss asked for"),
    Column("outcome", "string", "", "see the outcomes below"),
    Column("error", "string", "", "why there is no result, or no circuit of this rung"),
    Column("n_layer", "int64", "layers", "of the model"),
    Column("d_model", "int64", "channels", "width of the model"),
    Column("n_parameters", "int64", "weights", "of the model"),
    Column("n_nonzero", "int64", "weights", "weights of the model that are not zero"),
    Column("validation_loss_nats", "float64", "nats a token", "of the model, where it is recorded"),
    Column("n_tokens", "int64", "tokens", "that the model was trained on, where recorded"),
    Column("n_nodes", "int64", "nodes", "of the circuit"),
    Column("n_edges", "int64", "edges", "of the circuit"),
    Column("loss_model_nats", "float64", "nats", "of the whole model on the test pairs"),
    Column("loss_circuit_nats", "float64", "nats", "of the circuit"),
    Column("loss_complement_nats", "float64", "nats", "with the circuit ablated"),
    Column("loss_empty_nats", "float64", "nats", "with everything ablated"),
    Column("accuracy_model", "float64", "share", "of test prompts that the model answers right"),
    Column("accuracy_circuit", "float64", "share", "of test prompts that the circuit does"),
    Column("n_pairs", "int64", "pairs", "test pairs"),
    Column("f_mean", "float64", "F", "share of the model's performance, mean ablation"),
    Column("f_interchange", "float64", "F", "the same, all else as on the other prompt"),
    Column("f_norms", "float64", "F", "the same, with the model's own norms"),
    Column("follows", "float64", "share", "of prompts whose answer follows the circuit"),
    Column("cue_kept", "float64", "share", "of pairs that keep their cue in random backgrounds"),
    Column("grade", "string", "", "of the validation; empty without one"),
    Column(
        "weakest",
        "string",
        "",
        "the claim that keeps the grade from a better one; empty if none does",
    ),
    Column("passed", "string", "", "claims that pass, with spaces between"),
    Column("failed", "string", "", "claims that fail, with spaces between"),
    Column("n_families", "int64", "families", "with a circuit of their own, in a study by family"),
    Column("mechanisms", "string", "", "one, nested, either, several or undecided"),
    Column("reason", "string", "", "why the mechanisms are named so"),
    Column("overlap_min", "float64", "share", "of nodes that the two least alike circuits share"),
    Column("f_transfer_min", "float64", "F", "lowest F of a circuit on another family"),
    Column("f_x_transfer_min", "float64", "F", "the same, all else as on the other prompt"),
    Column("circuit_sha256", "string", "", "the hash of circuit.json"),
    Column("circuitkit_version", "string", "", "that ran the cell"),
    Column("torch_version", "string", "", "that ran the cell"),
    Column("device", "string", "", "where the model computed"),
    Column("n_threads", "int64", "threads", "of torch"),
    Column("seconds", "float64", "s", "of the cell; of one that was stopped, since it went on"),
    Column("peak_memory_bytes", "int64", "bytes", "largest resident memory of its process"),
)

MEASURED = ("seconds", "peak_memory_bytes")

OUTCOMES = {
    "target_met": "the circuit meets the target loss",
    "target_missed": "no circuit meets it; the best one is in the row",
    "collapsed": "the circuit found is empty",
    "rung_not_reached": "the search did not reach this rung",
    "task_not_done": "the checkpoint does not do the task, or cannot be asked it, or too few "
    "templates say",
    "trained": "the checkpoint is there",
    "compared": "the circuits of a task's families were compared",
    "error": "the cell failed; --resume runs it again",
}

Row = dict[str, Any]


def row_of(**values: Any) -> Row:
    """A row with every column, None where nothing is given."""
    row: Row = dict.fromkeys(column.name for column in COLUMNS)
    assert values.keys() <= row.keys(), values.keys() - row.keys()
    return row | values
