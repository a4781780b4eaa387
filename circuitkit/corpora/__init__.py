"""Text to learn from: a spec goes in, a stream of documents comes out.

Every corpus comes in two that share nothing: what is learned from, and what is
held out to measure on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from circuitkit.corpora.mixture import folder_of, is_mixture, mix, parse_mixture
from circuitkit.corpora.text_files import read_folder, read_stdlib
from circuitkit.corpora.tinypython import VALIDATION_SEED, tinypython
from circuitkit.errors import CorpusError

__all__ = ["VALIDATION_SEED", "folders_of", "open_corpus"]


def open_corpus(spec: str, *, seed: int, held_out: bool = False) -> Iterator[str]:
    """The documents of a corpus, one string each.

    Args:
        spec: ``tinypython`` (written as it is read, without end), ``stdlib`` (the
            running interpreter's own library, once), ``folder:PATH`` (every readable
            UTF-8 file below it, once), or a mixture of these by characters, such as
            ``0.8*tinypython + 0.2*stdlib`` (without end; what ends starts over).
        seed: what tinypython writes, 0 to 999,999; files read the same whatever it is.
        held_out: the text that no training reads instead: of tinypython other
            seeds, of files one piece in twenty.

    Raises:
        CorpusError: if the spec names no corpus, a folder holds no text, or
            tinypython is given a seed that is kept for held-out text.
    """
    if not is_mixture(spec):
        return _open_one(spec, seed=seed, held_out=held_out)
    parts = parse_mixture(spec)
    try:
        return mix(parts, partial(_open_one, seed=seed, held_out=held_out))
    except CorpusError as error:
        raise CorpusError(f"in {spec!r}: {error}") from None


def folders_of(spec: str) -> list[Path]:
    """The folders that a corpus reads.

    Raises:
        CorpusError: if it is a mixture with a wrong weight, or of one corpus twice.
    """
    sources = [part.source for part in parse_mixture(spec)] if is_mixture(spec) else [spec]
    return [folder for source in sources if (folder := folder_of(source))]


def _open_one(spec: str, *, seed: int, held_out: bool) -> Iterator[str]:
    if spec == "tinypython":
        return _open_tinypython(seed, held_out)
    if spec == "stdlib":
        return read_stdlib(held_out=held_out)
    kind, _, path = spec.partition(":")
    if kind == "folder" and path:
        return read_folder(Path(path), held_out=held_out)
    raise CorpusError(
        f"no such corpus: {spec!r}; expected tinypython, stdlib, folder:PATH or a mixture "
        "that gives each a weight, such as 0.8*tinypython + 0.2*stdlib"
    )


def _open_tinypython(seed: int, held_out: bool) -> Iterator[str]:
    if not 0 <= seed < VALIDATION_SEED:
        raise CorpusError(
            f"seed {seed} is not one to train on: tinypython holds out the seeds from "
            f"{VALIDATION_SEED:,} on; expected 0 to {VALIDATION_SEED - 1:,}"
        )
    return tinypython(seed + VALIDATION_SEED * held_out)
