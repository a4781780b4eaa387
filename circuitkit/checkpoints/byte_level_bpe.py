"""GPT-2's pair of tokenizer files: a vocabulary and a list of merges.

In: ``vocab.json`` and ``merges.txt``, or ``encoder.json`` and ``vocab.bpe``, which hold the same.
Out: the tokenizer. Byte-level BPE: text is cut by a pattern, and its bytes are merged within a
piece.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from circuitkit.errors import CheckpointError
from circuitkit.files import read_text

PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
"""Vocabulary and merges, under the names of ``transformers`` and of GPT-2's first release."""

_END = "<|endoftext|>"
_MAX_BYTES = 64 * 2**20


def find_pair(folder: Path) -> tuple[Path, Path] | None:
    """The two files of a folder, None where there are none.

    Raises:
        CheckpointError: if there is one of them without the other.
    """
    for names in PAIRS:
        vocabulary, merges = (folder / name for name in names)
        there = [path for path in (vocabulary, merges) if path.exists()]
        if len(there) == 2:
            return vocabulary, merges
        if there:
            other = merges if vocabulary in there else vocabulary
            raise CheckpointError(
                f"{there[0]} is half of a tokenizer, and {other.name} is missing. Put it there too."
            )
    return None


def read_byte_level_bpe(vocabulary: Path, merges: Path, split: str | None) -> Tokenizer:
    """The tokenizer of two files; ``split`` is the pattern that cuts text, None GPT-2's own.

    ``<|endoftext|>`` is a special token, and the last of the vocabulary if that lacks it.

    Raises:
        CheckpointError: if a file is damaged, or the two do not belong together.
    """
    ids = _read_vocabulary(vocabulary)
    try:
        tokenizer = Tokenizer(BPE(vocab=ids, merges=_read_merges(merges)))
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(
            f"{vocabulary} and {merges.name} are no tokenizer: {error}. Are they of two models?"
        ) from None
    if split is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    if _END in ids or split is not None:
        tokenizer.add_special_tokens([AddedToken(_END, special=True, normalized=False)])
    return tokenizer


def _read_vocabulary(path: Path) -> dict[str, int]:
    text = read_text(path, CheckpointError, "a vocabulary", limit=_MAX_BYTES)
    try:
        ids: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}. Restore it.") from None
    whole = isinstance(ids, dict) and all(type(i) is int and 0 <= i < 2**31 for i in ids.values())
    if not whole or not ids or len(set(ids.values())) < len(ids):
        raise CheckpointError(
            f"{path}: expected an object from each token to an id of its own, a whole number."
        )
    return ids


def _read_merges(path: Path) -> list[tuple[str, str]]:
    text = read_text(path, CheckpointError, "a list of merges", limit=_MAX_BYTES)
    found = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise CheckpointError(
                f"{path}:{number}: got {line!r:.60}, expected two tokens with a blank between them."
            )
        found.append((parts[0], parts[1]))
    return found
