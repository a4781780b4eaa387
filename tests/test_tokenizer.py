"""Laws of the tokenizer: nothing is lost, and the answers are one token."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.corpora.tinypython import VALIDATION_SEED, tinypython
from circuitkit.corpora.tokenizer import START, train_tokenizer


def documents(n, seed=0):
    return islice(tinypython(seed), n)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(documents(2000))


@pytest.fixture(scope="module", params=[300, 400])
def realistic(request):
    """Trained on more words than there is room for: most need merges."""
    stems, ends = ("wal", "sin", "rea", "tur", "hol", "bri"), ("", "ing", "ed", "er", "s")
    words = [stem + middle + end for stem in stems for middle in "gklmnt" for end in ends]
    return train_tokenizer([" ".join(words), " ".join(reversed(words))], request.param)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])) | st.text("[]'\"( \n):=+a1."))
def test_any_text_comes_back(tokenizer, realistic, text):
    """Encoding then decoding is the identity, in the corpus' vocabulary or far from it."""
    for trained in (tokenizer, realistic):
        assert trained.decode(trained.encode(text).ids, skip_special_tokens=False) == text


@given(point=st.integers(0, 0x10FFFF).filter(lambda p: not 0xD800 <= p < 0xE000))
def test_any_character_comes_back(tokenizer, point):
    """All 256 bytes are tokens, so any UTF-8 is spelt."""
    assert tokenizer.decode(tokenizer.encode(chr(point)).ids) == chr(point)


ANSWERS = (
    *("')", '")', "]", "]]", ".add", " +=", " in", ":", " ==", " ="),
    *(
        "=None",
        "):",
        " as",
        "\n",
        ",",
        "r",
        "w",
        " {",
        " else",
        " count",
        "(",
        " enumerate",
        " range",
    ),
    *("    ", "        ", "            ", "('", '("', " {'", ' ["', "(f'", "],", START),
)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_one_token(tokenizer, answer):
    """By construction: the pattern cuts it out and it is frequent."""
    assert len(tokenizer.encode(answer).ids) == 1


def test_a_name_is_the_same_token_after_a_keyword_and_alone(tokenizer):
    """``if count`` and ``count`` end alike: the keyword takes the space."""
    assert tokenizer.encode("if count").tokens == ["ifĠ", "count"]
    assert tokenizer.encode("\n    count").tokens == ["Ċ", "ĠĠĠĠ", "count"]


def test_indentation_is_one_token_a_line(tokenizer):
    """Whatever its depth, apart from the end of the line before."""
    for depth in (1, 2, 3):
        tokens = tokenizer.encode("x =\n" + "    " * depth + "count").tokens
        assert tokens[-3:] == ["Ċ", "ĠĠĠĠ" * depth, "count"]


def test_an_opening_quote_is_another_token_than_a_closing_one(tokenizer):
    """It goes with what is before it; one that closes stands alone or with its parenthesis."""
    for text, opening in (
        ("('", "('"),
        (" ['", "Ġ['"),
        (" {'", "Ġ{'"),
        (" = '", "Ġ'"),
        ("(f'", "(f'"),
    ):
        tokens = tokenizer.encode(f"x{text}red'").tokens
        assert tokens[-3:] == [opening, "red", "'"]


def test_every_piece_of_the_corpus_is_one_token(tokenizer):
    """Held-out documents need no spelling, and are 35 to 220 tokens but for the tails."""
    lengths = []
    for document in documents(300, VALIDATION_SEED):
        tokens = tokenizer.encode(document).tokens
        alone = [t for t in tokens if t.isascii() and t.isalpha() and len(t) == 1]
        alone = [t for t in alone if t not in ("r", "w")]  # how a file is opened
        assert not alone, (alone, document)
        lengths.append(len(tokens))
    lengths.sort()
    assert lengths[15] >= 35
    assert lengths[-15] <= 220


def test_training_is_deterministic():
    """The same documents give the same file."""
    assert train_tokenizer(documents(300)).to_str() == train_tokenizer(documents(300)).to_str()


@pytest.mark.parametrize("vocab_size", [257, 300, 512])
def test_the_vocabulary_is_as_large_as_allowed_at_most(vocab_size):
    """The start token is 0; a narrow corpus may need fewer tokens than allowed."""
    trained = train_tokenizer(documents(300), vocab_size)
    assert trained.get_vocab_size() <= vocab_size
    assert trained.token_to_id(START) == 0
    assert sorted(trained.get_vocab().values()) == list(range(trained.get_vocab_size()))


def test_rare_words_are_merged_from_fragments(realistic):
    """Outside its corpus the tokenizer is plain BPE: a new word is not spelt by bytes."""
    new = " turwalking singers"
    assert len(realistic.encode(new).ids) < 0.8 * len(new)
