"""Files that ``torch.save`` wrote (``.pt``, ``.bin``), opened without running what they hold.

In: a path. Out: the object in it, whose tensors are mapped to the file and take no memory until
they are read. Only torch's restricted reader opens a file (``weights_only``), and only in the
format of torch 1.6 and later: an older file is no archive, and says for itself how much memory
to take.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from circuitkit.errors import CheckpointError
from circuitkit.files import regular_file

_EXPECTED = "a file of torch.save"
_BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
_POINTER = b"version https://git-lfs"
_MAX_OBJECT_BYTES = 64 * 2**20
_MAX_RECORDS = 100_000


def read_torch_file(path: Path) -> Any:
    """The object that was saved; nothing of its tensors is read yet.

    Raises:
        CheckpointError: if the file is damaged, too old, or holds more than tensors, containers,
            numbers and text.
    """
    _check_archive(regular_file(path, CheckpointError, _EXPECTED))
    try:
        return torch.load(str(path), map_location="cpu", mmap=True, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes it raise nearly anything
        raise CheckpointError(_why_not(path, error)) from None


def _why_not(path: Path, error: Exception) -> str:
    if refused := re.search(r"GLOBAL ([\w.]+)|Unsupported class ([\w.]+)", str(error)):
        return (
            f"{path} holds a {refused[1] or refused[2]}, which is not read: to make one, code would have to run. "
            "Where you trust the file, load it in torch and save model.state_dict() alone."
        )
    reason = (str(error).splitlines() or [""])[0][:200]
    return (
        f"{path} is not a whole file of torch.save: {type(error).__name__}: {reason}. Was the save "
        "or copy interrupted?"
    )


def _check_archive(path: Path) -> None:
    """An archive whose entries are stored as they are, so that none is larger than the file."""
    try:
        with path.open("rb") as file:
            start, size = file.read(64), path.stat().st_size
        refuse_pointer(path)
        if not zipfile.is_zipfile(path):
            raise CheckpointError(f"{path} {_no_archive(start)}")
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except FileNotFoundError:
        raise CheckpointError(f"no such file: {path}; the checkpoint is incomplete.") from None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} is not a whole file of torch.save: {error}. Was the save or copy interrupted?"
        ) from None
    packed = [e.filename for e in entries if e.compress_type != zipfile.ZIP_STORED]
    large = [
        e.filename
        for e in entries
        if e.filename.endswith(".pkl") and e.file_size > _MAX_OBJECT_BYTES
    ]
    declared = sum(entry.file_size for entry in entries)
    if packed or large or declared > size or len(entries) > _MAX_RECORDS:
        raise CheckpointError(
            f"{path} is {size:,} bytes, and its {len(entries)} entries say {declared:,}"
            f"{', packed' if packed else ''}; expected what torch.save writes: unpacked entries "
            f"within the file, at most {_MAX_RECORDS:,}, and at most {_MAX_OBJECT_BYTES:,} bytes "
            "beside the numbers. Save it again."
        )


def is_of_old_torch(path: Path) -> bool:
    """Whether a file is in the format of torch before 1.6."""
    with regular_file(path, CheckpointError, _EXPECTED).open("rb") as file:
        return file.read(len(_BEFORE_1_6)) == _BEFORE_1_6


def refuse_pointer(path: Path) -> None:
    """Refuse the few lines of text that Git LFS leaves in place of a large file.

    Raises:
        CheckpointError: if that is what the file holds.
    """
    with path.open("rb") as file:
        is_pointer = file.read(len(_POINTER)) == _POINTER
    if is_pointer:
        raise CheckpointError(
            f"{path} is a Git LFS pointer, not the file itself. Run git lfs pull, or download it."
        )


def _no_archive(start: bytes) -> str:
    if start.startswith(_BEFORE_1_6):
        return (
            "is in the format of torch before 1.6, which is not read. Write it again: "
            "torch.save(torch.load(FILE, weights_only=True), FILE)"
        )
    return "is not a whole file of torch.save. Was the save or copy interrupted?"


def tensors_of(path: Path, held: Any) -> dict[str, Tensor]:
    """The tensors of a saved ``state_dict``, by name.

    Raises:
        CheckpointError: if it is anything but tensors by name, a tensor is sparse, quantised or
            repeats its numbers, or together they are larger than the file.
    """
    if not isinstance(held, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in held.items()
    ):
        raise CheckpointError(f"{path} holds {_described(held)}; {_ADVICE}")
    seen: dict[tuple[int, ...], int] = {}
    for name, tensor in held.items():
        _check_plain(path, name, tensor)
        n_bytes = tensor.numel() * tensor.element_size()
        seen[(tensor.data_ptr(), *tensor.shape, *tensor.stride())] = n_bytes
    if (total := sum(seen.values())) > path.stat().st_size:
        raise CheckpointError(
            f"{path} is {path.stat().st_size:,} bytes, and its tensors are {total:,}: they share "
            "their numbers. Save a copy of each (tensor.clone())."
        )
    return {name: tensor.detach() for name, tensor in held.items()}


_ADVICE = "expected tensors by name. Save the model's state_dict() alone."


def _described(held: Any) -> str:
    if not isinstance(held, dict):
        return f"a {type(held).__name__}"
    kinds = [f"{key!s:.40} ({type(value).__name__})" for key, value in list(held.items())[:4]]
    return f"{', '.join(kinds) or 'nothing'}{', …' if len(held) > 4 else ''}"


def _check_plain(path: Path, name: str, tensor: Tensor) -> None:
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    plain = plain and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain:
        raise CheckpointError(
            f"{path}: {name:.80} is no plain tensor ({type(tensor).__name__}, {tensor.layout}, "
            f"{tensor.dtype}, {tensor.device}); expected one. Save it dense and not quantised."
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(
            f"{path}: {name:.80} is {tuple(tensor.shape)}, more numbers than are stored for it. "
            "Save a copy of it (tensor.contiguous())."
        )
