"""Laws of the cache of recent results: the same results, and a bounded number of them."""

import torch

from circuitkit.compiled.cache import LARGE, MOST, Recent


def test_a_cached_result_is_not_made_again():
    """Until others have taken its place."""
    recent, made = Recent(2), []

    def get(key):
        return recent.get(key, lambda: made.append(key) or key)

    assert [get(key) for key in "abab" + "c" + "a"] == list("ababca")
    assert made == list("abca")


def test_no_more_numbers_are_kept_than_allowed():
    """The oldest go first, and the one just made is returned all the same."""
    recent, half = Recent(), torch.zeros(LARGE)
    for key in range(3 * MOST // LARGE):
        assert recent.get(key, half.clone) is not half
        kept = sum(result.numel() for result in recent.made.values())
        assert kept == recent.n_numbers <= MOST
    assert [*recent.made] == [*range(2 * MOST // LARGE, 3 * MOST // LARGE)]


def test_a_large_result_is_returned_and_not_kept():
    """It would push out all others."""
    recent = Recent()
    assert recent.get("small", lambda: 1) == 1
    assert recent.get("large", lambda: torch.zeros(LARGE + 1)).numel() == LARGE + 1
    assert [*recent.made] == ["small"]
