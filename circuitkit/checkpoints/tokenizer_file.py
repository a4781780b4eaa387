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

from circuitkit.errors import CheckpointError
from circuitkit.files import read_text


class TokenizerFile(NamedTuple):
    """A tokenizer (None where there is no file), and the settings of its file that are ignored."""

    tokenizer: Tokenizer | None
    warnings: tuple[str, ...] = ()


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
        raise CheckpointError(f"{path} is not a tokenizer: {error}. Restore it.") from None
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= vocab_size:
        raise CheckpointError(
            f"{path} has token id {largest}, but config.json says vocab_size = {vocab_size}. "
            "Is it another model's tokenizer?"
        )
    return TokenizerFile(tokenizer, tuple(f"{path.name}: {found}" for found in _freed(tokenizer)))


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
