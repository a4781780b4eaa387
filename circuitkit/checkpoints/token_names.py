"""A text for every token that no other token of the vocabulary has, in place of the id.

In: a checkpoint. Out: a name for each id, for files and pictures that are read without the
tokenizer. Decoded text is not unique: ``▁on`` and ``on`` both decode to ``on``, and every part
of a character of several bytes to U+FFFD.
"""

from __future__ import annotations

from collections import Counter

from circuitkit.checkpoints.checkpoint import Checkpoint

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_ITSELF = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = (byte for byte in range(256) if byte not in _ITSELF)
_BYTES = {chr(byte): byte for byte in _ITSELF} | {chr(256 + i): b for i, b in enumerate(_OTHERS)}
"""The letters that byte-level vocabularies write bytes with (GPT-2's)."""


def token_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The decoded text where no other token has it, else the token's piece of the vocabulary.

    Bytes are written ``<0xE2>``; a token without a tokenizer, or unknown to it, ``#17``.
    """
    ids = range(checkpoint.architecture.vocab_size)
    if (tokenizer := checkpoint.tokenizer) is None:
        return tuple(f"#{i}" for i in ids)
    texts = [tokenizer.decode([i], skip_special_tokens=False) for i in ids]
    times = Counter(texts)
    own = {text for text in texts if times[text] == 1 and text and _UNKNOWN not in text}
    taken, names = set(own), []
    for i, text in enumerate(texts):
        name = text if text in own else _piece(tokenizer.id_to_token(i), text) or f"#{i}"
        while text not in own and name in taken:
            name += f"#{i}"
        taken.add(name)
        names.append(name)
    return tuple(names)


def _piece(piece: str | None, text: str) -> str | None:
    if piece and _UNKNOWN in text and all(letter in _BYTES for letter in piece):
        return "".join(_shown(_BYTES[letter]) for letter in piece)
    return piece


def _shown(byte: int) -> str:
    return chr(byte) if 0x20 <= byte < 0x7F else f"<0x{byte:02X}>"
