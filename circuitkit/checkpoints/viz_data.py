"""Released circuits, ``viz_data.pt``: which channels are kept, and the losses stored with them.

In: the file, and the architecture it should fit. Out: its nodes, losses and samples, checked, as
plain values. Nothing in it is run, no path in it is followed, and tensors are read only once
their sizes are those of the model. Format: Gao et al. 2025, the files of the public release.

Stored losses are left as they are here: twice our pair loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from torch import Tensor

from circuitkit.checkpoints.stored_values import (
    FLOATS,
    INTEGERS,
    WrongPartError,
    channels_of,
    check_tensor,
    number_of,
    site_of,
)
from circuitkit.checkpoints.torch_file import read_torch_file
from circuitkit.errors import CheckpointError, CircuitError, MismatchError
from circuitkit.files import as_path, regular_file
from circuitkit.model import Architecture
from circuitkit.nodes import Site

FILE = "viz_data.pt"
_EXPECTED = "a released circuit (viz_data.pt)"
_MAX_BYTES = 8 * 2**30
_MAX_SAMPLE_TOKENS = 2**20
_PRUNE_CONFIG = "prune_config"

_SIZES = {
    "d_model": "d_model", "n_embd": "d_model", "d_mlp": "d_mlp", "n_mlp": "d_mlp",
    "block_size": "n_ctx",
}  # fmt: skip
"""The names under which files of the release have some sizes, and ours."""

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLosses:
    """Loss changes of the edges between two sites, one for each source and target."""

    source: Site
    target: Site
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    values: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class VizData:
    """What a released circuit's file holds, its losses as stored; None where it has none.

    ``kept`` holds the channels of every site in the order of the file, which is that of
    ``node_losses``.
    """

    path: Path
    kept: Mapping[Site, tuple[int, ...]]
    loss: float | None
    intervention_loss: float | None
    node_losses: Mapping[Site, tuple[float, ...]]
    edge_losses: tuple[EdgeLosses, ...]
    samples: tuple[tuple[Tokens, Tokens], ...]


def read_viz_data(path: str | Path, arch: Architecture) -> VizData:
    """Read a released circuit: the file, or a folder that holds ``viz_data.pt``.

    Raises:
        CircuitError: if it is no such file, or names sites or channels that the model lacks.
        MismatchError: if it says that it is of a model of other sizes.
    """
    path = as_path(path, f"{_EXPECTED}: a path")
    path = path / FILE if path.is_dir() else path
    held = _open(path)
    try:
        return _read(path, held, arch)
    except WrongPartError as wrong:
        raise CircuitError(f"{path}: {wrong}. Is it {_EXPECTED}?") from None


def _open(path: Path) -> dict[Any, Any]:
    regular_file(path, CircuitError, _EXPECTED, _MAX_BYTES)
    if not path.exists():
        raise CircuitError(f"no such file: {path}; expected {_EXPECTED}.")
    try:
        held = read_torch_file(path)
    except CheckpointError as error:
        raise CircuitError(str(error)) from None
    if not isinstance(held, dict):
        raise CircuitError(f"{path} holds a {type(held).__name__}; expected {_EXPECTED}, a dict.")
    return held


def _read(path: Path, held: dict[Any, Any], arch: Architecture) -> VizData:
    importances = _dict(held, "importances")
    _check_sizes(path, importances.get("beeg_model_config"), arch)
    kept = _kept(_dict(held, "circuit_data"), arch)
    return VizData(
        path=path,
        kept=kept,
        loss=number_of(importances.get("loss"), "importances.loss"),
        intervention_loss=number_of(importances.get("interv_loss"), "importances.interv_loss"),
        node_losses=_node_losses(importances.get("ch_interv_losses"), kept, arch),
        edge_losses=tuple(_edge_losses(importances.get("pair_data"), arch)),
        samples=_samples(importances.get("task_samples"), arch),
    )


def _dict(held: Mapping[Any, Any], name: str) -> dict[Any, Any]:
    if name not in held:
        raise WrongPartError(f"it has no {name}; it holds {_keys(held)}")
    if not isinstance(held[name], dict):
        raise WrongPartError(f"{name} is a {type(held[name]).__name__}, expected a dict")
    return held[name]


def _keys(held: Mapping[Any, Any]) -> str:
    shown = [f"{key!s:.40}" for key in list(held)[:6]]
    return ", ".join([*shown, *(["…"] if len(held) > 6 else [])]) or "nothing"


def _check_sizes(path: Path, config: Any, arch: Architecture) -> None:
    """What the file says of its model, where it says it in numbers that we know."""
    if not isinstance(config, dict):
        return
    for name in ("n_layer", "n_head", "d_head", "vocab_size", *_SIZES):
        said, ours = config.get(name), getattr(arch, _SIZES.get(name, name))
        if type(said) is int and said != ours:
            raise MismatchError(
                f"{path} is of a model with {name} {said}, but the checkpoint has {ours}. Give "
                "the checkpoint that the circuit was found in."
            )


def _kept(circuit: dict[Any, Any], arch: Architecture) -> dict[Site, tuple[int, ...]]:
    """The kept channels of every site; an older file has one key more, which is skipped."""
    widths = arch.widths
    found = {site_of(key): kept for key, kept in circuit.items() if key != _PRUNE_CONFIG}
    if odd := found.keys() ^ widths.keys():
        site = min(odd)
        raise WrongPartError(
            f"circuit_data has {'a' if site in found else 'no'} site {site}, and the checkpoint "
            f"has {'none' if site in found else 'one'}: it is of a model of other sizes"
        )
    return {
        site: channels_of(kept, f"circuit_data[{site}]", widths[site])
        for site, kept in found.items()
    }


def _node_losses(
    held: Any, kept: Mapping[Site, tuple[int, ...]], arch: Architecture
) -> dict[Site, tuple[float, ...]]:
    """The losses of each site, one a kept channel in the order of ``circuit_data``."""
    if held is None:
        return {}
    if not isinstance(held, dict):
        raise WrongPartError(f"importances.ch_interv_losses is a {type(held).__name__}")
    found: dict[Site, tuple[float, ...]] = {}
    for key, losses in held.items():
        site = site_of(key)
        what = f"importances.ch_interv_losses[{site}]"
        n_kept = len(kept.get(site, ()))
        if isinstance(losses, Tensor):
            check_tensor(losses, what, 1, arch.widths.get(site, 0), FLOATS)
        elif not isinstance(losses, list | tuple):
            raise WrongPartError(f"{what} is a {type(losses).__name__}, expected a list")
        if len(losses) != n_kept:
            raise WrongPartError(
                f"{what} is not a list of {n_kept} losses, one for each kept channel"
            )
        numbers = [number_of(loss, what) for loss in losses]
        found[site] = tuple(nan if number is None else number for number in numbers)
    return found


def _edge_losses(held: Any, arch: Architecture) -> Iterator[EdgeLosses]:
    if held is None:
        return
    if not isinstance(held, list | tuple):
        raise WrongPartError(f"importances.pair_data is a {type(held).__name__}, expected a list")
    for i, entry in enumerate(held):
        what = f"importances.pair_data[{i}]"
        if not isinstance(entry, list | tuple) or len(entry) != 4:
            raise WrongPartError(f"{what} is not [values, sources, targets, (site, site)]")
        values, sources, targets, sites = entry
        if not isinstance(sites, list | tuple) or len(sites) != 2:
            raise WrongPartError(f"{what} does not name two sites")
        source, target = map(site_of, sites)
        n_in, n_out = (arch.widths.get(site, 0) for site in (source, target))
        ins, outs = channels_of(sources, what, n_in), channels_of(targets, what, n_out)
        check_tensor(values, what, 2, n_in * n_out, FLOATS)
        if values.shape != (len(ins), len(outs)):
            raise WrongPartError(
                f"{what} has values of shape {tuple(values.shape)} for {len(ins)} sources and "
                f"{len(outs)} targets"
            )
        yield EdgeLosses(source=source, target=target, sources=ins, targets=outs, values=values)


def _samples(held: Any, arch: Architecture) -> tuple[tuple[Tokens, Tokens], ...]:
    """Pairs of prompts: rows i and i + N/2, without the zeros that fill them up on the right."""
    if held is None:
        return ()
    what = "importances.task_samples"
    if not isinstance(held, list | tuple) or not held:
        raise WrongPartError(f"{what} is not (ids, activations)")
    check_tensor(held[0], what, 2, _MAX_SAMPLE_TOKENS, INTEGERS)
    rows = [_stripped(row) for row in held[0].tolist()]
    wrong = [token for row in rows for token in row if not 0 <= token < arch.vocab_size]
    if wrong or len(rows) % 2:
        raise WrongPartError(
            f"{what} has token id {wrong[0]}, outside the vocabulary of {arch.vocab_size}"
            if wrong else f"{what} has {len(rows)} rows; expected two for each pair"
        )  # fmt: skip
    half = len(rows) // 2
    return tuple(zip(rows[:half], rows[half:], strict=True))


def _stripped(row: list[int]) -> Tokens:
    while row and row[-1] == 0:
        row.pop()
    return tuple(row)
