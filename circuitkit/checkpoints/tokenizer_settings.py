"""Settings beside a tokenizer by which ``transformers`` reads text otherwise: refused by name.

In: a folder, and the tokenizer that was read from it. Out: nothing, or an error. What is refused
is no part of the checkpoint, so no hash covers these files.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from circuitkit.checkpoints.foreign_config import read_object
from circuitkit.errors import CheckpointError
from circuitkit.views.safe_text import prose

_ADDED, _CONFIG, _MAP = "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json"
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_SAVE = (
    "In transformers, load the tokenizer with AutoTokenizer, save it with save_pretrained, and put "
    "the tokenizer.json that this writes into the folder"
)


class _Added(NamedTuple):
    """A token that a file adds to the vocabulary; None where the file gives no id."""

    file: str
    text: str
    id: int | None
    is_special: bool


def refuse_settings(folder: Path, tokenizer: Tokenizer) -> None:
    """Refuse a blank before every text and added tokens, if the tokenizer itself lacks them.

    Raises:
        CheckpointError: with the file, the setting and what to do, or if a file is damaged.
    """
    files = (_ADDED, _CONFIG, _MAP)
    held = {name: read_object(folder / name) for name in files if (folder / name).exists()}
    if held.get(_CONFIG, {}).get("add_prefix_space") and not _begins_with_blank(tokenizer):
        raise CheckpointError(
            f"{folder / _CONFIG} asks for a blank before every text (add_prefix_space), which is "
            f"not put there. {_SAVE}, or take that setting out."
        )
    for added in _added_tokens(held):
        if why := _why_not(added, tokenizer):
            shown = (
                f"{prose(added.text, 60)!r}{'' if added.id is None else f' (id {added.id!s:.20})'}"
            )
            raise CheckpointError(
                f"{folder / added.file} has the token {shown}, {why}; added tokens are read from "
                f"tokenizer.json alone. {_SAVE}, or take the token out."
            )


def ignored_settings(folder: Path) -> list[str]:
    """Tokens that a file asks to be put around every text, which ``transformers`` then puts."""
    path = folder / _CONFIG
    held = read_object(path) if path.exists() else {}
    places = {"add_bos_token": "before", "add_eos_token": "after"}
    return [
        f"{_CONFIG}: asks to put a token {where} every text ({key}), which is not put there"
        + (": convert --start-token ID does" if where == "before" else "")
        for key, where in places.items()
        if held.get(key) is True
    ]


def _why_not(added: _Added, tokenizer: Tokenizer) -> str | None:
    """How the tokenizer differs; None where it has the token as the file says."""
    known = tokenizer.token_to_id(added.text)
    if known is None:
        return "which the tokenizer lacks"
    if added.id not in (None, known):
        return f"which is {known} there"
    whole = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    if not added.is_special and added.text not in whole:
        return "which the tokenizer would merge from its parts"
    return None


def _begins_with_blank(tokenizer: Tokenizer) -> bool:
    """Whether a text is cut as if a blank were before it."""
    return _pieces(tokenizer, "x") == _pieces(tokenizer, " x")


def _pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    if tokenizer.normalizer:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return [text]
    return [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def _added_tokens(held: dict[str, dict[str, Any]]) -> Iterator[_Added]:
    """Every token that the files add, or name as special."""
    special: set[str] = set()
    for file in (_CONFIG, _MAP):
        for key, value in held.get(file, {}).items():
            if key.endswith("_token") or key in _LISTS:
                named = [*_texts(value)]
                special.update(named)
                yield from (_Added(file, text, None, is_special=True) for text in named)
    for text, number in held.get(_ADDED, {}).items():
        yield _Added(_ADDED, text, number, text in special)
    decoder = held.get(_CONFIG, {}).get("added_tokens_decoder")
    for number, token in (decoder if isinstance(decoder, dict) else {}).items():
        is_special = isinstance(token, dict) and token.get("special") is True
        for text in _texts(token):
            yield _Added(_CONFIG, text, _number(number), is_special or text in special)


def _texts(value: Any) -> Iterator[str]:
    """The tokens of a value: a text, an object with ``content``, or several of these."""
    match value:
        case str():
            yield value
        case {"content": str() as text}:
            yield text
        case list() | dict():
            for each in value if isinstance(value, list) else value.values():
                yield from _texts(each)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
