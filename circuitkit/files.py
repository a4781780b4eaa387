"""Files: whole or absent, bounded when read, and the folders that ship with the package."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from circuitkit.errors import CircuitkitError, UsageError

_PART = ".part"
_LEFT = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
_DEAD_AFTER_S = 3600.0
"""A part that nobody has written to for so long is of a process that was killed."""

MAX_JSON_BYTES = 256 * 2**20
"""JSON files larger than this are refused before they are read."""

MAX_TENSORS_BYTES = 64 * 2**30
"""Tensor files larger than this are refused before they are opened."""

_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def as_path(value: object, expected: str = "folder: a path") -> Path:
    """A path, or a name that could be one.

    Raises:
        UsageError: if it is neither text nor a path; ``expected`` completes the message.
    """
    if isinstance(value, str | Path) and str(value):
        return Path(value)
    raise UsageError(f"got {value!r:.80} ({type(value).__name__}), expected a {expected}.")


def sha256(data: bytes) -> str:
    """The hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_files(*paths: Path) -> str:
    """One hash over several files, in the order given, streamed."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that at every moment it is whole or absent.

    Raises:
        UsageError: if the folder cannot be written to.
    """
    payload = data.encode() if isinstance(data, str) else data
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PART)
    except OSError as error:
        raise _cannot_write(path.parent, error) from error
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        UsageError: if its folder cannot be written to.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(path.parent, error) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_bounded(
    path: Path, error: type[CircuitkitError], expected: str, limit: int = MAX_JSON_BYTES
) -> bytes:
    """Read a file of at most ``limit`` bytes; ``expected`` completes the message if it is missing.

    Raises:
        CircuitkitError: of the type ``error``, if the file is missing, unreadable or too large.
    """
    try:
        with regular_file(path, error, expected, limit).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size + 1)  # some files of the system say 0 bytes and never end
    except FileNotFoundError:
        raise error(f"no such file: {path}; expected {expected}.") from None
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}; expected {expected}.") from None
    if len(data) > size:
        raise error(
            f"{path} holds more than the {size:,} bytes it says; expected {expected} that nothing "
            "writes to. Copy it, and give the copy."
        )
    return data


def read_text(
    path: Path, error: type[CircuitkitError], expected: str, limit: int = MAX_JSON_BYTES
) -> str:
    """Read UTF-8 text as ``read_bounded`` does, without a byte order mark before it.

    Raises:
        CircuitkitError: of the type ``error``, as there, or if it is not UTF-8.
    """
    data = read_bounded(path, error, expected, limit)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(
            f"{path}: not UTF-8 at byte {problem.start}; expected {expected}. Save it as UTF-8."
        ) from None


def regular_file(
    path: Path, error: type[CircuitkitError], expected: str, limit: int = MAX_TENSORS_BYTES
) -> Path:
    """A path to open: what it leads to is a regular file of at most ``limit`` bytes, or nothing.

    To open a pipe waits for its other end, and a device may have no end.

    Raises:
        CircuitkitError: of the type ``error``, if it leads to anything else.
    """
    try:
        found = path.stat()
    except OSError:  # whoever opens it says why it cannot be
        return path
    if not stat.S_ISREG(found.st_mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(found.st_mode)), "a device")
        raise error(f"cannot read {path}: it is {kind}; expected {expected}.")
    if found.st_size > limit:
        raise error(
            f"{path} is {found.st_size:,} bytes; at most {limit:,} are read. Is it {expected}?"
        )
    return path


def claim_folder(folder: Path, markers: str | tuple[str, ...], purpose: str) -> None:
    """Make a folder ready to be written to: new, empty, or holding a marker of an earlier run.

    Parts of files that a killed process left there an hour ago or earlier are removed.

    Raises:
        UsageError: if it holds something else, is a file, or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; --out names a folder for {purpose}. Choose another.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = sorted(e.name for e in folder.iterdir() if not e.name.endswith(_PART))
    except OSError as error:
        raise _cannot_write(folder, error) from error
    markers = (markers,) if isinstance(markers, str) else markers
    if found and not set(markers) & set(found):
        raise UsageError(
            f"{folder} exists and holds something else ({', '.join(found[:3])}"
            f"{', …' if len(found) > 3 else ''}); expected a new or empty folder, or one with a "
            f"{markers[0]} of an earlier run. Choose another --out."
        )
    check_writable(folder, "Choose another --out.")
    remove_left(folder.iterdir())


def remove_left(paths: Iterable[Path]) -> None:
    """Remove those of the paths that a killed process left, which no other still writes to."""
    for path in paths:
        if _LEFT.fullmatch(path.name) and _age_s(path) > _DEAD_AFTER_S:
            remove(path)


def _age_s(path: Path) -> float:
    """How long ago a file was written to; 0 if it has gone."""
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def check_writable(folder: Path, to_do: str) -> None:
    """Refuse a folder that cannot be written to, before any work is done for it.

    Raises:
        UsageError: if so; ``to_do`` ends the message.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {folder}: it is read-only. {to_do}")


def shipped_folder(name: str) -> Path:
    """A folder of data that ships with the package: ``tasks`` or ``templates``.

    In the wheel it lies inside the package; in a checkout, at the top of the repository.
    """
    inside = Path(__file__).parent / "shipped" / name
    beside = {"tasks": "tasks", "templates": "reports/templates"}[name]
    return inside if inside.is_dir() else Path(__file__).parents[1] / beside


def _cannot_write(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot write to {path}: {error.strerror}. Choose a folder that can be written to."
    )
