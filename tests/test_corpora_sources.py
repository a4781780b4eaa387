"""Laws of where text comes from: files, the standard library, mixtures, and what is held out."""

import os
import re
import sysconfig
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitkit.corpora import VALIDATION_SEED, open_corpus
from circuitkit.corpora.mixture import Part, mix, parse_mixture
from circuitkit.corpora.text_files import PIECE_CHARS, files_below, pieces_of
from circuitkit.errors import CorpusError


def both(spec, seed=0):
    """Training and held-out documents of a corpus that ends."""
    return [list(open_corpus(spec, seed=seed, held_out=held_out)) for held_out in (False, True)]


def read(spec):
    """Training documents of a corpus that ends."""
    return list(open_corpus(spec, seed=0))


def write(folder, **texts):
    """A folder of Python files by name."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8", newline="")
    return f"folder:{folder}"


def lines(n, text="value = 1"):
    return "".join(f"{text}  # {i}\n" for i in range(n))


# tinypython


def test_held_out_tinypython_is_written_from_other_seeds():
    """Almost no document comes in both; the held-out ones have the seeds from 1,000,000 on."""
    train, held = (
        list(islice(open_corpus("tinypython", seed=3, held_out=held_out), 300))
        for held_out in (False, True)
    )
    assert len(set(train) & set(held)) < 5
    assert train == list(islice(open_corpus("tinypython", seed=3), 300))


@pytest.mark.parametrize("seed", [VALIDATION_SEED, VALIDATION_SEED + 1, -1])
@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("spec", ["tinypython", "1*tinypython + 1*stdlib"])
def test_a_seed_that_is_held_out_is_refused(spec, seed, held_out):
    """So no run can train on what another is measured on (Random(-1) is Random(1))."""
    with pytest.raises(CorpusError, match=rf"seed {seed} .*holds out .*expected 0 to 999,999"):
        open_corpus(spec, seed=seed, held_out=held_out)


# Folders


def test_a_folder_is_read_once_in_the_order_of_its_paths(tmp_path):
    """Every UTF-8 file; bytes that are no text and empty files are not."""
    write(tmp_path / "b", two="two = 2\n")
    write(tmp_path, c="three", d="", a="é", b="b.py comes after b/\n")
    (tmp_path / "c.bin").write_bytes(b"good\n\xff\xfe\x00")
    train, held = both(f"folder:{tmp_path}", seed=VALIDATION_SEED)
    assert (train, held) == (["é", "b.py comes after b/\n", "three"], ["two = 2\n"])


def test_the_second_of_every_twenty_pieces_is_held_out(tmp_path):
    """The splits share nothing, and together they are the folder."""
    texts = {f"f{i:02}": f"{i}\n" for i in range(45)}
    train, held = both(write(tmp_path, **texts))
    assert held == ["1\n", "21\n", "41\n"]
    assert sorted([*train, *held]) == sorted(texts.values())


def test_one_long_file_gives_both_splits(tmp_path):
    """As many pieces as it needs, one in twenty held out, every line whole and in its place."""
    text = lines(30_000)
    spec = write(tmp_path, long=text)
    train, held = both(spec)
    assert "".join(pieces_of(tmp_path / "long.py")) == text
    assert not set(train) & set(held)
    assert sum(map(len, [*train, *held])) == len(text)
    assert len(held) / len(train) == pytest.approx(1 / 19, rel=0.1)
    assert {piece[-1] for piece in [*train, *held]} == {"\n"}


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.tuples(st.text("ab é\n", min_size=1, max_size=9), st.integers(1, 2500))),
    tail=st.text(max_size=50),
)
def test_pieces_are_the_file_cut_where_lines_end(tmp_path_factory, runs, tail):
    """In order, bounded, and inside a line only when the line is longer than a piece."""
    text = "".join(part * n for part, n in runs) + tail.replace("\r", "")
    path = tmp_path_factory.mktemp("cut") / "text"
    path.write_text(text, encoding="utf-8", newline="")
    pieces = list(pieces_of(path))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= PIECE_CHARS for piece in pieces)
    for piece in pieces[:-1]:
        assert piece.endswith("\n") or (len(piece) == PIECE_CHARS and "\n" not in piece)


def test_line_ends_are_the_same_on_every_platform(tmp_path):
    """A file saved on Windows gives the text it would give elsewhere."""
    spec = write(tmp_path, windows="a = 1\r\nb = 2\r\n")
    assert read(spec) == ["a = 1\nb = 2\n"]


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Whether it has many lines or a single one of 30 MB."""
    (tmp_path / "line").write_text("x" * 30_000_000)
    (tmp_path / "lines").write_text("value = 1\n" * 3_000_000)
    tracemalloc.start()
    try:
        n = sum(map(len, open_corpus(f"folder:{tmp_path}", seed=0)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == pytest.approx(0.95 * 60_000_000, rel=0.01)
    assert peak < 10_000_000


def test_a_large_file_is_text_to_its_end_or_not_at_all(tmp_path):
    """A wrong byte after megabytes of text: no piece of it is used."""
    (tmp_path / "a").write_bytes(b"value = 1\n" * 200_000 + b"\xff")
    (tmp_path / "b").write_bytes(b"good = 1\n")
    assert read(f"folder:{tmp_path}") == ["good = 1\n"]


def test_links_are_not_followed(tmp_path):
    """Neither out of the folder, nor in a circle, nor to a file a second time."""
    write(tmp_path / "outside", secret="secret = 1\n")
    spec = write(tmp_path / "inside", a="a = 1\n")
    inside = tmp_path / "inside"
    for name, target in (("out", "outside"), ("loop", "inside"), ("file", "outside/secret.py")):
        (inside / name).symlink_to(tmp_path / target)
    (inside / "twice").symlink_to(inside / "a.py")
    assert read(spec) == ["a = 1\n"]
    (tmp_path / "link").symlink_to(inside)
    assert read(f"folder:{tmp_path / 'link'}") == ["a = 1\n"]


def test_pipes_are_not_waited_for(tmp_path):
    """Only plain files are opened."""
    spec = write(tmp_path, a="a = 1\n")
    os.mkfifo(tmp_path / "pipe")
    assert read(spec) == ["a = 1\n"]


def test_a_file_that_changes_under_the_reader_is_named(tmp_path, monkeypatch):
    """It was text when it was checked: half of it is no document."""
    spec = write(tmp_path, a=lines(2000))
    documents = open_corpus(spec, seed=0)
    (tmp_path / "a.py").write_bytes(b"\xff" * 100_000)
    with pytest.raises(CorpusError, match=r"a\.py changed while it was read: .* Begin again\."):
        list(documents)


def test_a_missing_folder_is_refused_before_it_is_read(tmp_path):
    """Opening fails, not the first document an hour later."""
    for path in (tmp_path / "nowhere", tmp_path / ("x" * 300), Path(__file__)):
        with pytest.raises(CorpusError, match=rf"no such folder of text: '{path}'; .*existing dir"):
            open_corpus(f"folder:{path}", seed=0)


def test_a_folder_without_text_is_refused(tmp_path):
    """An empty corpus would train on nothing."""
    (tmp_path / "c.bin").write_bytes(b"\xff")
    (tmp_path / "d").mkdir()
    for held_out in (False, True):
        with pytest.raises(CorpusError, match=r"(no|too little) text in .*"):
            open_corpus(f"folder:{tmp_path}", seed=0, held_out=held_out)


def test_a_folder_of_one_piece_has_nothing_to_hold_out(tmp_path):
    """Two pieces are enough."""
    spec = write(tmp_path, a="a = 1\n")
    with pytest.raises(CorpusError, match=r"too little text in .* to hold any out: .* Add text\."):
        open_corpus(spec, seed=0, held_out=True)
    write(tmp_path, b="b = 1\n")
    assert both(spec) == [["a = 1\n"], ["b = 1\n"]]


# The standard library


def test_the_standard_library_is_this_interpreters():
    """Megabytes of its modules, without tests and installed packages."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    train, held = both("stdlib")
    assert sum(map(len, train)) > 3_000_000
    assert len(held) / len(train) == pytest.approx(1 / 19, rel=0.01)
    pieces = {*train, *held}
    for module in ("abc.py", "argparse.py", "unittest/case.py"):
        assert pieces >= set(pieces_of(folder / module))
    outside = [*files_below(folder / "test"), *files_below(folder / "site-packages")]
    for path in [path for path in outside if path.suffix == ".py"][:300]:
        assert not pieces & {piece for piece in pieces_of(path) if len(piece) > 1000}


def test_the_standard_library_is_the_same_twice():
    """And the same whatever the seed."""
    first, second = (
        list(islice(open_corpus("stdlib", seed=seed), 200)) for seed in (0, VALIDATION_SEED)
    )
    assert first == second


def test_a_named_directory_is_skipped_wherever_it_is(tmp_path):
    """The filter of the standard library, on a tree of our own."""
    for name in ("json", "json/tests", "site-packages", "tests_of_mine"):
        write(tmp_path / name, module="")
    found = files_below(tmp_path, skipping=frozenset({"tests", "site-packages"}))
    assert [path.parent.name for path in found] == ["json", "tests_of_mine"]


def test_an_interpreter_without_files_is_refused(tmp_path, monkeypatch):
    """One that keeps its library in an archive."""
    (tmp_path / "notes.txt").write_text("not Python")
    monkeypatch.setattr(sysconfig, "get_paths", lambda: {"stdlib": str(tmp_path)})
    with pytest.raises(CorpusError, match=rf"no text in {tmp_path}: it holds no readable"):
        open_corpus("stdlib", seed=0)


# Mixtures


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=5),
    sizes=st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=20), min_size=5, max_size=5),
)
def test_a_mixture_keeps_the_shares_of_its_parts_at_every_length(weights, sizes):
    """In characters, to within a document of each part; parts that end start over."""
    parts = [Part(weight=weight, source=str(i)) for i, weight in enumerate(weights)]
    documents = mix(parts, lambda source: iter([source * n for n in sizes[int(source)]]))
    given_chars = dict.fromkeys((part.source for part in parts), 0)
    for document in islice(documents, 300):
        given_chars[document[0]] += len(document)
    total, whole = sum(given_chars.values()), sum(weights)
    for part in parts:
        assert abs(given_chars[part.source] - total * part.weight / whole) <= 300 * len(parts)


def test_a_mixture_of_corpora_holds_to_its_weights(tmp_path):
    """Documents of each as they come from it alone, also held out."""
    spec = write(tmp_path / "a + b", **{f"f{i}": lines(900, "folder = 2") for i in range(8)})
    for held_out in (False, True):
        mixed = open_corpus(f"3*tinypython+1*{spec}", seed=5, held_out=held_out)
        mixed = list(islice(mixed, 2000))
        alone = open_corpus("tinypython", seed=5, held_out=held_out)
        ours = [text for text in mixed if text.startswith("folder")]
        theirs = [text for text in mixed if not text.startswith("folder")]
        assert theirs == list(islice(alone, len(theirs)))
        n_ours, n_theirs = sum(map(len, ours)), sum(map(len, theirs))
        assert n_ours / (n_ours + n_theirs) == pytest.approx(0.25, rel=0.02)
        wanted = list(open_corpus(spec, seed=5, held_out=held_out))
        assert ours[: len(wanted)] == wanted[: len(ours)]


def test_a_mixture_is_the_same_twice():
    """Nothing is drawn to decide whose turn it is."""
    spec = "0.8*tinypython + 0.2*stdlib"
    first, second = (list(islice(open_corpus(spec, seed=1), 300)) for _ in range(2))
    assert first == second


def test_one_part_with_a_weight_has_no_end(tmp_path):
    """It starts over, from its first document."""
    spec = write(tmp_path, a="a", b="held", c="c")
    assert list(islice(open_corpus(f"1*{spec}", seed=0), 5)) == ["a", "c", "a", "c", "a"]


def test_a_part_that_is_gone_when_it_starts_over_is_an_error(tmp_path):
    """Not an endless wait for its next document."""
    spec = write(tmp_path, a="a = 1\n")
    documents = open_corpus(f"1*{spec}", seed=0)
    assert next(documents) == "a = 1\n"
    (tmp_path / "a.py").unlink()
    with pytest.raises(CorpusError, match="no text in"):
        next(documents)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("1*tinypython", [(1.0, "tinypython")]),
        ("  .5 * tinypython+2*stdlib ", [(0.5, "tinypython"), (2.0, "stdlib")]),
        (
            "0.5*folder:/a b/c+d + e/f + 0.5*stdlib",
            [(0.5, "folder:/a b/c+d + e/f"), (0.5, "stdlib")],
        ),
        ("8*folder:C:\\x*y + 2*tinypython", [(8.0, "folder:C:\\x*y"), (2.0, "tinypython")]),
    ],
)
def test_a_mixture_is_weights_times_corpora(spec, expected):
    """A path may hold spaces, + and *; a + that a weight follows begins another part."""
    assert [(part.weight, part.source) for part in parse_mixture(spec)] == expected


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("0*tinypython", r"the weight of tinypython in '0\*tinypython' is 0; expected .* above 0"),
        ("1*tinypython + -1*stdlib", "the weight of stdlib in .* is -1; expected a number above 0"),
        ("1.2.3*stdlib", r"the weight of stdlib in .* is 1\.2\.3; expected a number"),
        (f"{'9' * 400}*stdlib", "the weight of stdlib .*; expected a number"),
        ("1*folder:a/b + 2*folder:./a/c/../b/", "folder:/.*/a/b comes twice"),
        ("1*stdlib + 2*stdlib", "stdlib comes twice in '1.*'; expected each corpus once"),
        ("1*tinypyton + 1*stdlib", r"in '1\*t.*': no such corpus: 'tinypyton'; expected tinypyth"),
        ("1*2*stdlib", r"no such corpus: '2\*stdlib'; expected tinypython, stdlib, folder:PATH or"),
        ("1*tinypython + stdlib", r"no such corpus: 'tinypython \+ stdlib'; .* gives each a weig"),
        ("tinypython + stdlib", r"no such corpus: 'tinypython \+ stdlib'; .* gives each a weight"),
        ("1*tinypython +", r"no such corpus: 'tinypython \+'; expected"),
        ("1*", "no such corpus: ''; expected"),
        ("1*folder:nowhere", r"in '1\*folder:nowhere': no such folder of text: 'nowhere'"),
    ],
)
def test_a_wrong_mixture_is_refused(spec, match):
    """With the spec, what was got and what was expected."""
    with pytest.raises(CorpusError, match=match):
        open_corpus(spec, seed=0)


@pytest.mark.parametrize(
    "spec",
    ["tinypyton", "", "folder:", "folder", "https://example.org", "stdlib:", "Tinypython", "x*y"],
)
def test_an_unknown_corpus_is_refused(spec):
    """The message names what was got and what there is."""
    with pytest.raises(CorpusError, match=rf"no such corpus: '{re.escape(spec)}'; expected tinyp"):
        open_corpus(spec, seed=0)
