"""Checkpoints as lines of text: what ``checkpoints`` and ``inspect`` print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from circuitkit.checkpoints.competence_json import (
    MAX_LOSS_NATS,
    MIN_ACCURACY,
    Competence,
    Interval,
    TaskCompetence,
)

_UNTOLD = "-"
_MOST_NAMES = 8


def bundled_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Two lines a bundled checkpoint: its figures, the tasks it does."""
    for row in rows:
        yield (
            f"{row['name']:<21}  {row['n_layer']} layers × {row['d_model']}  "
            f"{row['n_nonzero']:,} of {row['n_parameters']:,} weights nonzero  "
            f"L0 {row['l0_fraction'] or 1:.4f}  "
            f"validation loss {row['validation_loss_nats'] or float('nan'):.3f} nats"
        )
        yield f"  {_does(row)}"


def _does(row: Mapping[str, Any]) -> str:
    done, missing, unknown = (row[f"tasks_{kind}"] for kind in ("done", "not_done", "not_known"))
    if done is None:
        return f"tasks not measured for these weights: circuitkit checkpoints {row['name']} --save"
    rest = f"; not {', '.join(missing)}" if missing else ""
    rest += f"; not known: {', '.join(unknown)}" if unknown else ""
    return f"does {len(done)} of {len(done) + len(missing) + len(unknown)} tasks{rest}"


def competence_lines(competence: Competence) -> Iterator[str]:
    """A table of the tasks, and how many of them the checkpoint does."""
    width = max(len(row.task) for row in competence.tasks)
    yield f"{competence.checkpoint}, sha256 {competence.sha256[:16]}…"
    yield f"up to {competence.n_pairs} test pairs a task, 90 % intervals over templates; does it:"
    yield f"accuracy's lower bound at least {MIN_ACCURACY:.2f}, loss at most {MAX_LOSS_NATS:.2f}"
    yield ""
    head = ("loss (nats)", "accuracy", "templates")
    yield "{:<{}}  {:<23}  {:<23}  {}  does it".format("task", width, *head)
    for row in competence.tasks:
        yield f"{row.task:<{width}}  {_answered(row)}"
    yield ""
    open_ = len(competence.not_known)
    rest = f"; of {open_} it is not known" if open_ else ""
    yield f"does {len(competence.done)} of {len(competence.tasks)}{rest}"


def _answered(row: TaskCompetence) -> str:
    if row.loss_nats is None or row.accuracy is None:
        return f"cannot be asked: {row.problem}"
    return (
        f"{_shown(row.loss_nats, 4)}  {_shown(row.accuracy, 3):<23}  "
        f"{row.n_templates:>9}  {_does_it(row.accuracy, does=row.does)}"
    )


def _does_it(accuracy: Interval, *, does: bool) -> str:
    if accuracy.low is None:
        return "not known: too few templates asked"
    return "yes" if does else "no"


def _shown(interval: Interval, digits: int) -> str:
    return f"{interval.mean:.{digits}f} {shown_ends(interval.low, interval.high, digits)}"


def shown_ends(low: float | None, high: float | None, digits: int) -> str:
    """The ends of an interval; a dash for one that nothing is known of."""
    ends = (_UNTOLD if end is None else f"{end:.{digits}f}" for end in (low, high))
    return f"[{', '.join(ends)}]"


def inspected_lines(result: Mapping[str, Any], sha256: str) -> Iterator[str]:
    """The result of ``inspect_checkpoint``: every figure, then every warning."""
    yield f"{result['name']} ({result['format']}), sha256 {sha256[:16]}…"
    for key, value in result["architecture"].items():
        yield f"  {key:<18} {value}"
    yield (
        f"{result['n_parameters']:,} parameters, {result['n_nonzero']:,} nonzero; "
        f"{result['n_nodes']:,} nodes at {len(result['sites'])} sites"
    )
    yield from _matrix_lines(result["matrices"])
    yield from _neuron_lines(result["layers"])
    if result["n_sample_tokens"] is not None:
        yield from _activity_lines(result)
    if "bridges" in result:
        yield from _bridge_lines(result["bridges"])
    yield from _renamed_lines(result["renamed"])
    yield from _dropped_lines(result["dropped"])
    yield from (f"warning: {warning}" for warning in result["warnings"])


def _renamed_lines(renamed: Sequence[Mapping[str, str]]) -> Iterator[str]:
    if renamed:
        first = renamed[0]
        yield f"renamed {len(renamed)}, such as {first['from']} → {first['to']}"


def _dropped_lines(dropped: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """A line for each reason, with the names that it holds for."""
    for why in dict.fromkeys(item["why"] for item in dropped):
        names = [item["name"] for item in dropped if item["why"] == why]
        more = f", … ({len(names) - _MOST_NAMES} more)" if len(names) > _MOST_NAMES else ""
        yield f"dropped, {why}: {', '.join(names[:_MOST_NAMES])}{more}"


def _matrix_lines(matrices: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"  {'matrix':<42} {'shape':>12}  {'nonzero':>9}  L0 fraction"
    for matrix in matrices:
        shape = " × ".join(map(str, matrix["shape"]))
        yield (
            f"  {matrix['name']:<42} {shape:>12}  {matrix['nonzero']:>9,}  "
            f"{matrix['l0_fraction']:>11.4f}"
        )


def _neuron_lines(layers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "dead neurons: no weight to read or none to write by; 0 on every token of the sample"
    yield "  layer  neurons  unwired  silent"
    for row in layers:
        silent = _UNTOLD if row["n_silent"] is None else row["n_silent"]
        yield f"  {row['layer']:>5}  {row['n_neurons']:>7,}  {row['n_unwired']:>7}  {silent:>6}"


def _activity_lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"share of nonzero activations, {result['n_sample_tokens']:,} tokens of the reference"
    for kind, share in result["nonzero_activations"].items():
        yield f"  {kind:<18} {share:.4f}"
    *before, end = result["residual_kurtosis"]
    yield "kurtosis of the residual stream over channels, mean over these tokens (normal: 3)"
    for layer, value in enumerate(before):
        yield f"  {f'before layer {layer}':<18} {_kurtosis(value)}"
    yield f"  {'at the end':<18} {_kurtosis(end)}"


def _bridge_lines(bridges: Mapping[str, Any]) -> Iterator[str]:
    dense, quality = bridges["dense"], bridges["quality"]
    yield (
        f"bridges to {dense['name']} (sha256 {dense['sha256'][:12]}…, width {bridges['d_dense']}), "
        f"on {quality['n_tokens']:,} held-out tokens"
    )
    yield (
        f"  loss alone: dense {quality['dense_loss_nats']:.4f} nats, sparse "
        f"{quality['sparse_loss_nats']:.4f} nats"
    )
    yield f"  {'':<12}  {'dense -> sparse':^24}  {'sparse -> dense':^24}"
    numbers = f"{'NMSE':>6} {'loss':>8} {'KL':>8}"
    yield f"  {'crossing':<12}  {numbers}  {numbers}"
    for row in quality["crossings"]:
        ways = (
            f"{row[f'nmse_{way}']:>6.3f} {row[f'loss_{way}_nats']:>8.4f} "
            f"{row[f'kl_{way}_nats']:>8.4f}"
            for way in ("to_sparse", "to_dense")
        )
        yield f"  {row['crossing']:<12}  {'  '.join(ways)}"


def _kurtosis(value: float | None) -> str:
    return _UNTOLD if value is None else f"{value:.1f}"
