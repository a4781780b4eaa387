"""Files: whole or absent, bounded when read, and the folders that ship with the package."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from circuitkit.errors import CircuitkitError, UsageError

_PART = ".part"

MAX_JSON_BYTES = 256 * 2**20
"""JSON files larger than this are refused before they are read."""


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
        size = path.stat().st_size
        if size > limit:
            raise error(f"{path} is {size:,} bytes; at most {limit:,} are read. Is it {expected}?")
        return path.read_bytes()
    except FileNotFoundError:
        raise error(f"no such file: {path}; expected {expected}.") from None
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror}; expected {expected}.") from None


def claim_folder(folder: Path, markers: str | tuple[str, ...], purpose: str) -> None:
    """Make a folder ready to be written to: new, empty, or holding a marker of an earlier run.

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
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write to {folder}: it is read-only. Choose another --out.")


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
