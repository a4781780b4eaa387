"""``tokenizer.json``: read, and freed of what would change a prompt behind its back.

In: the file. Out: the tokenizer that everything reads texts with, and in words what the file
asked for and does not get. Files keep the settings of a training run: a length to cut or pad
to, pieces left out at random. And a text is always text: the name of a special token in it
is spelled out, so that no file can put one in.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from circuitkit.errors import CheckpointError
from circuitkit.files import read_text


class TokenizerFile(NamedTuple):
    """A tokenizer (None where there is no file), and what its file asked for in vain."""

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
    return TokenizerFile(tokenizer, tuple(f"{path.name}: {told}" for told in _freed(tokenizer)))


def _freed(tokenizer: Tokenizer) -> list[str]:
    """Switch off whatever makes other tokens of a text than its own; say what was on."""
    told = []
    if cut := tokenizer.truncation:
        told.append(f"asks to cut every text to {cut['max_length']} tokens; texts are not cut")
        tokenizer.no_truncation()
    if tokenizer.padding:
        told.append("asks to pad every text; texts are not padded")
        tokenizer.no_padding()
    if dropout := getattr(tokenizer.model, "dropout", None):
        told.append(f"asks to leave out merges at random (dropout {dropout:.2g}); none is left out")
        tokenizer.model.dropout = None
    if n := tokenizer.num_special_tokens_to_add(is_pair=False):
        told.append(
            f"asks to put {n} special token{'s' * (n > 1)} around every text; prompts get the "
            "start_token of config.json and no other"
        )
    tokenizer.encode_special_tokens = True
    return told
