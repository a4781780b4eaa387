"""Laws of the tokenizer: nothing is lost, and the answers are one token."""

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.corpora import VALIDATION_SEED, open_corpus
from circuitkit.corpora.tokenizer import START, train_tokenizer
from circuitkit.task import SPLITS, builtin_tasks, load_task


def documents(n, seed=0):
    return islice(open_corpus("tinypython", seed=seed), n)


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
    *("):", "('", '("', "],", "\n", "\n    ", "\n        ", START),
)


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_one_token(tokenizer, answer):
    """By construction: the pattern cuts it out and it is frequent."""
    assert len(tokenizer.encode(answer).ids) == 1


@pytest.mark.parametrize("name", builtin_tasks())
def test_prompt_and_answer_are_the_tokens_of_their_text(tokenizer, name):
    """No token reaches across the end of the prompt, and 90 tokens are enough."""
    task = load_task(name)
    for split in SPLITS:
        for pair in task.pairs(split, 120):
            for side in (pair.a, pair.b):
                prompt = tokenizer.encode(side.text).ids
                answer = tokenizer.encode(side.answer).ids
                assert len(answer) == 1
                assert tokenizer.encode(side.text + side.answer).ids == prompt + answer
                assert len(prompt) <= 90


@pytest.mark.parametrize("name", builtin_tasks())
def test_the_last_token_of_a_prompt_tells_nothing(tokenizer, name):
    """Both prompts of a pair end in the same token."""
    for split in SPLITS:
        for pair in load_task(name).pairs(split, 120):
            last = {tokenizer.encode(side.text).ids[-1] for side in (pair.a, pair.b)}
            assert len(last) == 1, pair


def test_a_name_is_the_same_token_after_a_keyword_and_alone(tokenizer):
    """``if count`` and ``count`` end alike: the keyword takes the space."""
    assert tokenizer.encode("if count").tokens == ["ifĠ", "count"]
    assert tokenizer.encode("\n    count").tokens[-1] == "count"


def test_every_piece_of_the_corpus_is_one_token(tokenizer):
    """Held-out documents need no spelling, and are 40 to 160 tokens but for the tails."""
    lengths = []
    for document in documents(300, VALIDATION_SEED):
        tokens = tokenizer.encode(document).tokens
        alone = [t for t in tokens if t.isascii() and t.isalpha() and len(t) == 1]
        assert not alone, (alone, document)
        lengths.append(len(tokens))
    lengths.sort()
    assert lengths[15] >= 35
    assert lengths[-15] <= 160


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
