"""The tensors of a folder in another format, as the engine's: strictly, by name.

In: a ``Layout``. Out: a ``Survey`` of every name (nothing is read), then float32 tensors. A file
is mapped anew after each ``_MAPPED_BYTES`` read, so
that little more than the model itself lies in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from circuitkit.checkpoints.layout import Dropped, Layout, Placed
from circuitkit.checkpoints.strict_tensors import (
    EMBEDDING,
    HEAD,
    as_float32,
    check_tensors,
    expected_shapes,
)
from circuitkit.checkpoints.torch_file import is_of_old_torch
from circuitkit.checkpoints.weight_files import WeightFiles, check_index, mapped_tensors
from circuitkit.errors import CheckpointError

_MAPPED_BYTES = 128 * 2**20
_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64"}
"""As safetensors names them."""


class Source(NamedTuple):
    """Where a tensor of the model lies: a file, a name there, and whether to transpose it."""

    path: Path
    name: str
    transposed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Every tensor of a set of weights: read from where, renamed, dropped, of which type.

    ``filled`` are tensors of the model that the files lack and that are zeros.
    """

    weights: WeightFiles
    others: tuple[WeightFiles, ...]
    remarks: tuple[str, ...]
    sources: dict[str, Source]
    dropped: tuple[Dropped, ...]
    types: dict[str, int]
    filled: frozenset[str]

    @property
    def renamed(self) -> list[tuple[str, str]]:
        """The tensors whose name in the file is another than in the model."""
        return [(s.name, ours) for ours, s in self.sources.items() if s.name != ours]


def survey(layout: Layout) -> Survey:
    """Look at every name, shape and type of the first set of weights; read none.

    Raises:
        CheckpointError: if there are no weights, or a tensor is missing, unexpected or wrong.
    """
    if not layout.weights:
        raise CheckpointError(
            f"{layout.config.parent}: {layout.recognised}; its weights are missing: "
            f"{' or '.join(layout.named)}. Put them beside {layout.config.name}."
        )
    try:
        return _survey(layout, layout.weights[0])
    except CheckpointError as error:
        raise CheckpointError(
            f"{layout.config.parent}: {layout.recognised}; refused:\n{error}"
        ) from None


def _survey(layout: Layout, weights: WeightFiles) -> Survey:
    sources: dict[str, Source] = {}
    found: dict[str, Tensor] = {}
    dropped: list[Dropped] = []
    names = _held(weights)
    for name, (path, tensor) in names.items():
        place = layout.place(name)
        if isinstance(place, Dropped):
            dropped.append(place)
        elif place.name in sources:
            raise CheckpointError(
                f"{path}: {sources[place.name].name} and {name} are the same tensor of the model; "
                "expected one of them. Delete the one that is left over."
            )
        else:
            sources[place.name] = Source(path, name, place.transposed)
            found[place.name] = tensor
    _check(layout, weights.path, found, sources)
    old = [w for w in layout.weights if w is not weights and is_of_old_torch(w.path)]
    return Survey(
        weights=weights,
        others=tuple(w for w in layout.weights if w is not weights and w not in old),
        remarks=tuple(_remarks(layout, found, old)),
        sources=sources,
        dropped=tuple(dropped),
        types=dict(Counter(_TYPES[tensor.dtype] for tensor in found.values())),
        filled=layout.zeros.difference(found),
    )


def _held(weights: WeightFiles) -> dict[str, tuple[Path, Tensor]]:
    """Every name in the files of a set with its file and, on the meta device, its tensor."""
    held: dict[str, tuple[Path, Tensor]] = {}
    for path in weights.files:
        for name, tensor in mapped_tensors(path).items():
            if name in held:
                raise CheckpointError(
                    f"{name:.80} is in {held[name][0]} and in {path.name}; expected it once. Are "
                    "the files of two saves mixed?"
                )
            held[name] = path, torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")
    check_index(weights, {name: path for name, (path, _) in held.items()})
    return held


def _remarks(layout: Layout, found: dict[str, Tensor], old: list[WeightFiles]) -> Iterator[str]:
    for name in sorted(layout.zeros - found.keys()):
        if layout.place(name) == Placed(name):  # a tensor that other files of the format have
            yield f"{name} is not in the file: zeros"
    for other in old:
        yield f"{other.path.name} is in the format of torch before 1.6: it was not compared"


def _check(
    layout: Layout, path: Path, found: dict[str, Tensor], sources: dict[str, Source]
) -> None:
    """Compare with what the model has, in the shapes of the file."""
    expected = {
        name: shape[::-1] if _is_transposed(layout, name) else shape
        for name, shape in expected_shapes(layout.architecture).items()
    }
    complete = {n: torch.empty(expected[n], device="meta") for n in layout.zeros}
    for name, tensor in found.items():  # one that is not expected is named as in the file
        own = sources[name].name
        complete[name if name in expected or own in expected else own] = tensor
    if layout.architecture.tied_unembedding:
        for one, other in ((HEAD, EMBEDDING), (EMBEDDING, HEAD)):
            if one in found:
                complete.setdefault(other, found[one])
    hint = _hint(found, [source.name for source in sources.values()])
    check_tensors(path, layout.architecture, expected, complete, layout.config.name, hint)


def _is_transposed(layout: Layout, name: str) -> bool:
    """Whether the files hold a tensor of the model transposed."""
    place = layout.place(name)
    return isinstance(place, Placed) and place.transposed


def _hint(found: dict[str, Tensor], names: list[str]) -> str:
    """What the file holds instead, as far as names and shapes say."""
    first = {name.partition(".")[0] for name in names}
    if len(first) == 1 and first & {"module", "_orig_mod", "model", "base_model"}:
        return f" Every name begins with {first.pop()!r}: save the model inside that wrapper."
    if any(name.startswith("blocks.") for name in names):
        return (
            " Its names are those of TransformerLens; expected those of the model it was made from."
        )
    layers = {name.split(".")[2] for name in found if name.startswith("transformer.h.")}
    width = found[EMBEDDING].shape[-1:] if EMBEDDING in found else ()
    shown = f" of width {width[0]}" if width else ""
    return f" The file holds {len(layers)} layers{shown}. Is it another model's?" if layers else ""


def read_foreign(layout: Layout) -> dict[str, Tensor]:
    """Every tensor of the model, in float32.

    Raises:
        CheckpointError: as ``survey``, if a value is not finite, a tied pair differs, or two sets
            of weights in the folder do.
    """
    found = survey(layout)
    tensors = {ours: as_float32(path, name, t) for ours, path, name, t in _mapped(found)}
    for other in found.others:
        _compare(tensors, found, _survey(layout, other))
    expected = expected_shapes(layout.architecture)
    if layout.architecture.tied_unembedding:
        _tie(found.weights.path, tensors)
    for name in layout.zeros - tensors.keys():
        tensors[name] = torch.zeros(expected[name])
    return tensors


def _mapped(found: Survey) -> Iterator[tuple[str, Path, str, Tensor]]:
    """The tensors one by one, with the model's name, the file and its name there."""
    in_files = sorted(
        found.sources.items(), key=lambda item: found.weights.files.index(item[1].path)
    )
    for path, group in groupby(in_files, key=lambda item: item[1].path):
        mapped, n_bytes = mapped_tensors(path), 0
        for ours, (_, name, transposed) in group:
            if n_bytes > _MAPPED_BYTES:
                mapped.clear()
                mapped, n_bytes = mapped_tensors(path), 0
            tensor = mapped[name]
            n_bytes += tensor.numel() * tensor.element_size()
            yield ours, path, name, tensor.t() if transposed else tensor
            del tensor


def _compare(tensors: dict[str, Tensor], first: Survey, other: Survey) -> None:
    for ours, path, name, tensor in _mapped(other):
        same = ours in tensors and torch.equal(tensors[ours], as_float32(path, name, tensor))
        if not same:
            raise CheckpointError(
                f"{path.parent} holds two sets of weights, {first.weights.path.name} and "
                f"{other.weights.path.name}, which differ in {ours}. Move away the one that you do "
                "not mean."
            )


def _tie(path: Path, tensors: dict[str, Tensor]) -> None:
    """Give the pair that is one tensor both of its names.

    Raises:
        CheckpointError: if both are there and differ.
    """
    head, embedding = tensors.get(HEAD), tensors.get(EMBEDDING)
    if head is not None and embedding is not None and not torch.equal(head, embedding):
        raise CheckpointError(
            f"{path}: {HEAD} differs from {EMBEDDING}, to which the config ties it. If the model "
            "is untied, say so in the config."
        )
    shared = embedding if embedding is not None else head
    assert shared is not None
    tensors[HEAD] = tensors[EMBEDDING] = shared
