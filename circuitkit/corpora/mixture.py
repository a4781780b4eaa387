"""Weighted mixtures: corpora and their shares go in, one stream without end comes out.

Shares are of characters. The next document comes from the part furthest behind
its share, so no chance is needed and the shares hold at every length. A part
that ends starts over. Source: the mix of a simple and a realistic component in
Gao et al. 2025, section A.6.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from circuitkit.errors import CorpusError

_NUMBER = r"\s*-?[0-9.]+\s*"
_HEAD = re.compile(rf"{_NUMBER}\*")
_PLUS = re.compile(rf"\s*\+(?={_NUMBER}\*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A corpus in a mixture: its spec and its weight, which is relative to the others'."""

    weight: float
    source: str


def is_mixture(spec: str) -> bool:
    """Whether a spec begins with a weight.

    >>> is_mixture("0.8*tinypython + 0.2*stdlib"), is_mixture("folder:0.8*x")
    (True, False)
    """
    return _HEAD.match(spec) is not None


def parse_mixture(spec: str) -> list[Part]:
    """The parts of a mixture: ``WEIGHT*CORPUS`` with ``+`` between them.

    A ``+`` or a space that no weight follows belongs to a folder's path.

    Raises:
        CorpusError: if a weight is not positive, or a corpus comes twice.
    """
    parts = [_parse_part(text, spec) for text in _PLUS.split(spec)]
    sources = [_whole(part.source) for part in parts]
    for source in sources:
        if sources.count(source) > 1:
            raise CorpusError(
                f"{source} comes twice in {spec!r}; expected each corpus once: add up its weights"
            )
    return parts


def _whole(source: str) -> str:
    """A corpus by one name: a folder by its whole path."""
    folder = folder_of(source)
    return source if folder is None else f"folder:{folder.resolve()}"


def folder_of(source: str) -> Path | None:
    """The folder that a corpus reads; None for one of another kind."""
    kind, _, path = source.partition(":")
    return Path(path) if kind == "folder" and path else None


def _parse_part(text: str, spec: str) -> Part:
    number, _, source = text.partition("*")
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise CorpusError(
            f"the weight of {source.strip()} in {spec!r} is {number.strip()}; "
            "expected a number above 0, such as 0.8*tinypython + 0.2*stdlib"
        )
    return Part(weight=weight, source=source.strip())


def mix(parts: Iterable[Part], open_part: Callable[[str], Iterator[str]]) -> Iterator[str]:
    """Documents of all parts, without end; the first come from the parts in their order.

    Args:
        parts: at least one.
        open_part: its documents from the beginning; called at once for every part,
            and again whenever one ends. It must give at least one or raise.
    """
    parts = list(parts)
    streams = [_again(open_part(part.source), part.source, open_part) for part in parts]
    return _interleave(streams, [part.weight for part in parts])


def _interleave(streams: list[Iterator[str]], weights: list[float]) -> Iterator[str]:
    given = [0] * len(streams)
    while True:
        behind = min(range(len(streams)), key=lambda i: given[i] / weights[i])
        document = next(streams[behind])
        given[behind] += len(document)
        yield document


def _again(
    documents: Iterator[str], source: str, open_part: Callable[[str], Iterator[str]]
) -> Iterator[str]:
    while True:
        yield from documents
        documents = open_part(source)
