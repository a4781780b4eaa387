"""Text files as documents: a folder goes in, pieces of its files come out.

Every readable UTF-8 file is read in the order of its path and cut at line ends
into pieces of at most 4,000 characters. The second of every twenty pieces is
held out, so that even one file of two pieces can be learned from and checked
on. Links are not followed: nothing outside the folder is read, nothing twice.
Memory holds one piece and the listing of one directory at a time.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from circuitkit.errors import CorpusError

PIECE_CHARS = 4000
HELD_OUT_EVERY = 20
_HELD_OUT_PIECE = 1
_BLOCK_CHARS = 2**20

_NOT_LIBRARY = frozenset(
    [
        *("site-packages", "dist-packages", "__pycache__"),  # not the library's own
        *("test", "tests", "idle_test"),
        *("encodings", "pydoc_data"),  # tables and a manual in strings, a sixth of the text
    ]
)


def read_folder(folder: Path, *, held_out: bool) -> Iterator[str]:
    """The training pieces of a folder, or those held out.

    Raises:
        CorpusError: if there is no such folder, or nothing in it to read.
    """
    if not _is_folder(folder):
        raise CorpusError(
            f"no such folder of text: '{folder}'; folder: takes an existing directory"
        )
    return _split(folder, files_below(folder), held_out)


def read_stdlib(*, held_out: bool) -> Iterator[str]:
    """The training pieces of the running interpreter's own library, or those held out.

    Only ``.py`` files, without tests, installed packages and tables: the same for
    the same interpreter, another text for another one.

    Raises:
        CorpusError: if this interpreter keeps its library elsewhere than in files.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    files = files_below(folder, skipping=_NOT_LIBRARY)
    return _split(folder, (path for path in files if path.suffix == ".py"), held_out)


def files_below(folder: Path, skipping: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Every file, in the order of its path; not those below a directory named in ``skipping``."""
    ahead = _children(folder)
    while ahead:
        path = ahead.pop()
        if path.is_dir():
            ahead += _children(path) if path.name not in skipping else []
        elif path.is_file():
            yield path


def pieces_of(path: Path) -> Iterator[str]:
    """A text file cut at line ends; none if it is not UTF-8 or cannot be read."""
    if not _is_text(path):
        return
    try:
        yield from _cut(path)
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} changed while it was read: {error}. Begin again.") from None


def _cut(path: Path) -> Iterator[str]:
    rest = ""
    with path.open(encoding="utf-8-sig") as file:  # some editors put a byte order mark before it
        while text := rest + file.read(PIECE_CHARS - len(rest)):
            at_end = len(text) < PIECE_CHARS
            end = len(text) if at_end else text.rfind("\n") + 1 or PIECE_CHARS
            yield text[:end]
            rest = text[end:]


def _split(folder: Path, files: Iterator[Path], held_out: bool) -> Iterator[str]:
    pieces = enumerate(chain.from_iterable(map(pieces_of, files)))
    kept = (p for i, p in pieces if (i % HELD_OUT_EVERY == _HELD_OUT_PIECE) == held_out)
    first = next(kept, None)
    if first is not None:
        return chain([first], kept)
    if held_out:
        raise CorpusError(
            f"too little text in {folder} to hold any out: the second of every {HELD_OUT_EVERY} "
            f"pieces (of up to {PIECE_CHARS:,} characters) is, and there is no second. Add text."
        )
    raise CorpusError(
        f"no text in {folder}: it holds no readable, non-empty UTF-8 file (links are not followed)"
    )


def _children(folder: Path) -> list[Path]:
    """Last name first, as a stack wants them; none of a directory that may not be listed."""
    try:
        inside = [path for path in folder.iterdir() if not path.is_symlink()]
    except OSError:
        return []
    return sorted(inside, key=lambda path: path.name, reverse=True)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long, a parent that may not be entered
        return False


def _is_text(path: Path) -> bool:
    """Read to its end, so that no piece of a file is used that turns out to be no text."""
    try:
        with path.open(encoding="utf-8") as file:
            while file.read(_BLOCK_CHARS):
                pass
    except (OSError, UnicodeDecodeError):
        return False
    return True
