"""Laws of the prose: no word that only insiders know, in anything that a stranger reads first."""

from pathlib import Path

import pytest
from private_words import PRIVATE_WORDS, private_words_in

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_word_on_a_page(page):
    """The front page, the docs, and what contributors read."""
    assert private_words_in(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("so the judge\naccepts it", ["the judge"]),
        ("Its judge said no", ["the judge"]),
        ("as Told above", ["told"]),
        ("a circuit before the court", ["the court"]),
        ("What stands in for the rest", ["what stands in"]),
        ("between its own ends", ["ends (for source and target)"]),
        ("the ends of an edge", ["ends (for source and target)"]),
        ("values pushed, or shaken", ["shaken"]),
    ],
)
def test_every_private_word_is_found(text, found):
    """Across lines, in capitals; and nothing else is found."""
    assert [each.partition(": ")[0] for each in private_words_in(text)] == found


def test_ordinary_uses_are_left_alone():
    """A verb, a number of ends, a courtesy."""
    text = "The row ends with a space. It ends here. Judge the result. The toll doubled; untold."
    assert private_words_in(text) == []
    assert len(PRIVATE_WORDS) >= 5
