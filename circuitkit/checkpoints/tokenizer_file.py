"""``tokenizer.json``: read, without the settings that would silently change a prompt.

In: the file. Out: the tokenizer that reads all texts, and a warning for each setting of the
file that is ignored. Files keep the settings of a training run: a length to cut or pad to,
merges left out at random. The name of a special token in a text is read as text, so that no
task file can insert one.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from circuitkit.checkpoints.byte_level_bpe import find_pair, read_byte_level_bpe
from circuitkit.checkpoints.tokenizer_settings import ignored_settings, refuse_settings
from circuitkit.errors import CheckpointError
from circuitkit.files import read_text

_MOST_PADDED = 1024
"""Models round their vocabulary up, by fewer ids than this."""


class TokenizerFile(NamedTuple):
    """A tokenizer (None where there is no file), remarks on its file, and the files it is in."""

    tokenizer: Tokenizer | None
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def read_tokenizer(path: Path, vocab_size: int) -> TokenizerFile:
    """Read ``tokenizer.json``.

    Raises:
        CheckpointError: if it is corrupt, or has ids the model does not know.
    """
    if not path.exists():
        return TokenizerFile(None)
    text = read_text(path, CheckpointError, "a tokenizer", limit=64 * 2**20)
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{path} is not a tokenizer: {error!s:.300}. Restore it.") from None
    return _fitted(path, tokenizer, vocab_size)


def find_tokenizer(folder: Path, vocab_size: int, split: str | None) -> TokenizerFile:
    """The tokenizer of a folder in another format: ``tokenizer.json``, or a vocabulary and merges.

    Raises:
        CheckpointError: if it is corrupt, or another model's: it has ids that the model does not
            know, the model many that it has not, or files beside it say that it is read otherwise.
    """
    path = folder / "tokenizer.json"
    pair = None if path.exists() else find_pair(folder)
    if pair is None:
        found = read_tokenizer(path, vocab_size)
    else:
        path = pair[0]
        found = _fitted(path, read_byte_level_bpe(*pair, split), vocab_size)
        found = TokenizerFile(found.tokenizer, (*found.warnings, *ignored_settings(folder)), pair)
    if found.tokenizer is not None:
        refuse_settings(folder, found.tokenizer)
    return _of_this_model(path, found, vocab_size)


def _of_this_model(path: Path, found: TokenizerFile, vocab_size: int) -> TokenizerFile:
    """Refuse a tokenizer of far fewer tokens than the model has; say how many are missing."""
    if found.tokenizer is None:
        return found
    n_tokens = found.tokenizer.get_vocab_size(with_added_tokens=True)
    n_missing = vocab_size - n_tokens
    if n_missing >= min(_MOST_PADDED, -(-vocab_size // 2)):
        raise CheckpointError(
            f"{path} has {n_tokens:,} tokens, and the model {vocab_size:,}; expected as many, or a "
            f"model padded by fewer than {_MOST_PADDED:,}. Is it another model's tokenizer?"
        )
    if n_missing <= 0:
        return found
    note = f"{path.name}: has {n_tokens:,} tokens; the model's other {n_missing:,} "
    return found._replace(warnings=(*found.warnings, f"{note}cannot be written as text"))


def _fitted(path: Path, tokenizer: Tokenizer, vocab_size: int) -> TokenizerFile:
    """A tokenizer whose ids the model knows, freed of the settings that change a text."""
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= vocab_size:
        raise CheckpointError(
            f"{path} has token id {largest}, but config.json says vocab_size = {vocab_size}. "
            "Is it another model's tokenizer?"
        )
    notes = tuple(f"{path.name}: {found}" for found in _freed(tokenizer))
    return TokenizerFile(tokenizer, notes, (path,))


def _freed(tokenizer: Tokenizer) -> list[str]:
    """Switch off all settings that change the tokens of a text; the result lists them."""
    found = []
    if cut := tokenizer.truncation:
        found.append(f"asks to cut every text to {cut['max_length']} tokens; texts are not cut")
        tokenizer.no_truncation()
    if tokenizer.padding:
        found.append("asks to pad every text; texts are not padded")
        tokenizer.no_padding()
    if dropout := getattr(tokenizer.model, "dropout", None):
        found.append(
            f"asks to leave out merges at random (dropout {dropout:.2g}); none is left out"
        )
        tokenizer.model.dropout = None
    if n := tokenizer.num_special_tokens_to_add(is_pair=False):
        found.append(
            f"asks to put {n} special token{'s' * (n > 1)} around every text; prompts get the "
            "start_token of config.json and no other"
        )
    tokenizer.encode_special_tokens = True
    return found
