"""Laws of distractors: planted ones are found, the cue itself and what all pairs share are none."""

import pytest
from tiny import tiny_model

from circuitkit.explaining.chosen_pairs import _distracting
from circuitkit.explaining.distractors import find_distractors
from circuitkit.model import encode_pairs
from circuitkit.task import Pair, Prompt

CUES, ANSWERS, FILLERS, LAST = (1, 2), (3, 4), (5, 6, 7), 8
"""Cue 1 is answered by 3 and cue 2 by 4; token 8 ends every prompt."""


def asked(rows):
    """Pairs that differ in the cue, each with tokens before and after it."""
    arch = tiny_model("plain").arch
    pairs = []
    for i, (before, after) in enumerate(rows):
        a, b = (
            Prompt(tokens=(*before, cue, *after, LAST), answer=answer)
            for cue, answer in zip(CUES, ANSWERS, strict=True)
        )
        pairs.append(Pair(a=a, b=b, template=f"t{i}"))
    return encode_pairs(pairs, None, start_token=None, vocab_size=arch.vocab_size, n_ctx=arch.n_ctx)


PLAIN = [((x,), (y,)) for x in FILLERS for y in FILLERS]


@pytest.mark.parametrize("row", [((1, 5), (6,)), ((5,), (6, 2)), ((2,), ())])
def test_a_cue_of_other_pairs_that_both_prompts_share_is_found(row):
    """Before the cue or after it; in no other pair is there any."""
    (token,) = {1, 2} & {*row[0], *row[1]}
    assert find_distractors(asked([*PLAIN, row])) == {len(PLAIN): (token,)}


def test_the_cue_of_a_pair_does_not_distract_from_itself():
    """Prompts without a shared cue have none, whatever else they share."""
    assert find_distractors(asked(PLAIN)) == {}


def test_what_most_pairs_share_distracts_nobody():
    """A token that is the cue and stands in every prompt besides."""
    assert find_distractors(asked([((1, x), (y,)) for x in FILLERS for y in FILLERS])) == {}


def test_the_shortest_of_the_distracting_pairs_is_shown():
    """With its distractors; where there is none, no pair is."""
    rows = [*PLAIN, ((1, 5, 6, 7), (6,)), ((2,), ()), ((5, 1), (6, 7))]
    (shown,) = _distracting(asked(rows))
    assert (shown.kind, shown.distractors) == ("distractor", (2,))
    assert shown.pair.tokens[:, : int(shown.pair.last[0]) + 1].tolist() == [[2, 1, 8], [2, 2, 8]]
    assert _distracting(asked(PLAIN)) == []
