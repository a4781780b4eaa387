"""Text to learn from: a spec goes in, a stream of documents comes out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from circuitkit.corpora.tinypython import VALIDATION_SEED, tinypython
from circuitkit.errors import CorpusError

__all__ = ["VALIDATION_SEED", "open_corpus"]


def open_corpus(spec: str, *, seed: int) -> Iterator[str]:
    """The documents of a corpus, one string each.

    Args:
        spec: ``tinypython`` (without end) or ``folder:PATH`` (every readable
            UTF-8 file below it, once, in sorted order).
        seed: what tinypython writes; 1,000,000 and up are held out. A folder
            reads the same whatever the seed.

    Raises:
        CorpusError: if the spec names no corpus, or the folder no text.
    """
    if spec == "tinypython":
        return tinypython(seed)
    kind, colon, path = spec.partition(":")
    if kind == "folder" and colon and path:
        return _read_folder(Path(path))
    raise CorpusError(f"no such corpus: {spec!r}; expected tinypython or folder:PATH")


def _read_folder(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        raise CorpusError(f"no such folder of text: {folder}; folder: takes an existing directory")
    documents = (_read(path) for path in sorted(folder.rglob("*")) if path.is_file())
    texts = (text for text in documents if text)
    first = next(texts, None)
    if first is None:
        raise CorpusError(f"no text in {folder}: it holds no readable, non-empty UTF-8 file")
    return _chain(first, texts)


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
