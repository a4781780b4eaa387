"""The tokenizer: byte-level, every text round-trips, frequent pieces are one token.

Documents go in, a ``tokenizers.Tokenizer`` comes out. Text is first cut into
pieces by a fixed pattern: brackets, quotes and operators are cut so that the
answers of the tasks are pieces of their own. ``if count`` and ``count`` share
the token ``count``: a keyword takes the space that follows it, so that the
variable alone does not show where in the line it is.

Where we differ from plain BPE: a narrow corpus has a few hundred pieces, and
merges would spend half the vocabulary on fragments (``pri``, ``prin``) that
never appear in a text. So pieces that make up 1/20,000 of the corpus become
tokens at once, most frequent first (``ignore_merges``); the room left goes to
merges learned from the other pieces.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import chain, repeat

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

START = "<|endoftext|>"
"""Put before every document, and before every prompt."""

KEYWORDS = (
    *("if", "elif", "while", "for", "def", "class"),
    *("return", "with", "lambda", "import", "from", "not"),
)

PIECE = "|".join(
    [
        r"\n",
        r"(?: {4})+",  # indentation, one token a line
        rf" ?(?:{'|'.join(KEYWORDS)}) (?=\S)",  # `if ` and the space after it
        r"[( ]f[\"']",  # an f-string opens
        r"[ .]?[A-Za-z_]+",  # a word, with the space or dot before it
        r" ?[0-9]{1,3}",
        r""" ?(?:""|'')(?![A-Za-z])""",  # the empty string
        r" ?[(\[{][\"']| [\"']",  # a quote that opens
        r"[\"']\)?",  # a quote that closes
        r"\]\]|\],|\):| ?\[\[?",  # brackets that come in company
        r"\(\):?",
        r"=None",
        r" ?[-+*/%=!<>]=?",
        r" ?[^\sA-Za-z0-9]",
        r"\s+",
    ]
)

_COMMON = 1 / 20_000
_NARROW = 1 / 20
"""Of a narrow corpus, at most this share of common pieces finds no room."""


def train_tokenizer(documents: Iterable[str], vocab_size: int = 512) -> Tokenizer:
    """Learn a tokenizer; the same documents give the same one.

    Args:
        documents: the text, one string each; must end.
        vocab_size: tokens in all; the 256 bytes and the start token are always there.
    """
    pieces = _count_pieces(documents)
    alphabet = [START, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    room = max(0, vocab_size - len(alphabet))
    whole = _whole_pieces(pieces, room)
    taken = set(whole)
    rare = {piece: n for piece, n in pieces.items() if piece not in taken}
    fragments, merges = _learn_merges(rare, vocab_size - len(whole))
    tokens = dict.fromkeys([*alphabet, *whole, *fragments])
    return _assemble({token: i for i, token in enumerate(tokens)}, merges)


def _splitter() -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(PIECE), "isolated")
    return pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def _count_pieces(documents: Iterable[str]) -> Counter[str]:
    split = _splitter().pre_tokenize_str
    return Counter(chain.from_iterable((p for p, _ in split(text)) for text in documents))


def _whole_pieces(pieces: Counter[str], room: int) -> list[str]:
    """The common pieces; where they are too many to cover a corpus, half the room is left."""
    n = sum(pieces.values())
    ranked = sorted(pieces, key=lambda piece: (-pieces[piece], piece))
    common = [p for p in ranked if len(p) > 1 and pieces[p] >= n * _COMMON]
    missed = sum(pieces[p] for p in common[room:])
    return common[:room] if missed <= n * _NARROW else common[: room // 2]


def _learn_merges(
    pieces: dict[str, int], vocab_size: int
) -> tuple[list[str], list[tuple[str, str]]]:
    """Plain BPE over the rarer pieces."""
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learned = Tokenizer(models.BPE())
    ordered = sorted(pieces.items())
    learned.train_from_iterator(chain.from_iterable(repeat(p, n) for p, n in ordered), trainer)
    model = json.loads(learned.to_str())["model"]
    merges = [(left, right) for left, right in model["merges"]]
    return [left + right for left, right in merges], merges


def _assemble(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = _splitter()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(START, special=True, normalized=False)])
    return tokenizer
