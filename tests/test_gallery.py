"""Laws of the circuits that are shown: each is what its file says, and the folder is small."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from circuitkit import Circuit, Validation, load_checkpoint
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.nodes import NodeSet, Site

sys.path.append(str(Path(__file__).parent / "benchmarks"))
sys.path.append(str(Path(__file__).parents[1] / "reports"))

import gallery_folders
import gallery_tables
import make_gallery
from minimality import Selected
from shown import GALLERY, Shown, shown_folders

SMALL = [f"tinypython-nano/{task}" for task in ("final_kwarg", "if_ternary")]
AT_MOST_BYTES = 12_000_000
NUMBERED = [path.parent for path in sorted(GALLERY.glob("*/*/numbers.json"))]
EXAMPLE = GALLERY / "tinypython-dense" / "if_equals"


def name_of(path):
    return "/".join(path.parts[-2:])


@pytest.mark.parametrize("name", SMALL)
def test_no_single_node_can_go(name):
    """By the masked model, apart from the search; a node too many is found."""
    shown = Shown.load(GALLERY / name)
    tried, nodes = Selected.of(shown), shown.nodes
    assert shown.circuit.minimality.nodes_1_minimal
    assert tried.meets(nodes)
    assert tried.could_go(nodes) == []
    passenger = next(iter(NodeSet.full(nodes.widths) - nodes))
    assert passenger in tried.could_go(nodes | NodeSet.of([passenger]))


@pytest.mark.parametrize("folder", shown_folders(), ids=name_of)
def test_a_shown_circuit_is_of_a_bundled_checkpoint_and_has_a_verdict(folder):
    """Bound by hash; the target met or said not to be; 1-minimal where met and refined."""
    circuit, validation = Circuit.load(folder), Validation.load(folder)
    checkpoint = load_checkpoint(folder.parent.name)
    assert circuit.checkpoint.sha256 == checkpoint.sha256
    assert circuit.task.name == folder.name
    assert circuit.outcome in ("target_met", "target_missed", "collapsed")
    refined = json.loads((folder / "pruning.json").read_text())["config"]["refine"]
    assert circuit.minimality.nodes_1_minimal == (circuit.outcome == "target_met" and refined)
    assert refined or folder.parent.name == "tinypython-dense"
    assert validation.circuit_sha256 == circuit.sha256
    assert validation.grade in ("A", "B", "C", "C-redundant", "F")
    assert not [p.name for p in folder.iterdir() if p.name == "search.json"]
    sources = json.loads((folder / "sources.json").read_text())
    assert (sources["checkpoint"], sources["reference"]) == (folder.parent.name, None)


@pytest.mark.parametrize("folder", NUMBERED, ids=name_of)
def test_numbers_without_a_circuit_are_those_of_the_validated_circuit(folder):
    """Bound by hash to checkpoint and verdict; the nodes and the checkpoint give every edge."""
    numbers, validation = gallery_folders.numbers(folder), Validation.load(folder)
    checkpoint = load_checkpoint(folder.parent.name)
    assert not (folder / "circuit.json").exists()
    assert numbers["checkpoint"] == {"name": folder.parent.name, "sha256": checkpoint.sha256}
    assert numbers["task"]["name"] == folder.name
    assert numbers["circuit_sha256"] == validation.circuit_sha256
    refined = name_of(folder) not in make_gallery.UNREFINED
    met = numbers["outcome"] == "target_met"
    assert numbers["minimality"]["nodes_1_minimal"] == (met and refined)
    nodes = NodeSet({Site.parse(site): kept for site, kept in numbers["nodes"].items()})
    assert len(nodes) == numbers["n_nodes"]
    edges = edges_between(checkpoint.load_model(), nodes)
    assert len(edges) == numbers["n_edges"] == numbers["n_edges_induced"]


def test_every_circuit_that_the_checkpoints_do_is_in_the_gallery():
    """Whole or as numbers, with the files that are said to be kept."""
    expected = list(make_gallery.folders(GALLERY, sorted(make_gallery.bundled_checkpoints())))
    assert sorted(expected) == sorted([*shown_folders(), *NUMBERED])
    for folder in expected:
        missing = [name for name in gallery_folders.kept(folder) if not (folder / name).exists()]
        assert missing == [], folder


def size(gallery):
    """As ``du -sb`` counts where a folder takes 4,096 bytes."""
    paths = [gallery, *gallery.rglob("*")]
    return sum(path.stat().st_size if path.is_file() else 4096 for path in paths)


def test_the_gallery_is_small():
    """The repository is cloned by people who want the code."""
    assert size(GALLERY) <= AT_MOST_BYTES


def test_the_limit_is_one_of_everything_in_the_gallery(tmp_path):
    """A file at any depth counts."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 100)
    assert size(tmp_path) == 3 * 4096 + 100


def test_the_index_is_what_the_folders_say():
    """Regenerated, byte for byte."""
    written = (GALLERY / "README.md").read_bytes().decode()
    assert written == gallery_tables.index(GALLERY), "python reports/make_gallery.py --index"


def test_the_index_names_every_circuit_and_links_to_files_that_exist():
    """A row a circuit; a picture for every circuit of a sparse checkpoint."""
    text = gallery_tables.index(GALLERY)
    links = re.findall(r"\]\(([^)]+)\)|(?:href|src)=\"([^\"]+)\"", text)
    missing = [link for found in links for link in found if link and not (GALLERY / link).exists()]
    assert missing == []
    rows = [line for line in text.splitlines() if "validation.json](" in line]
    assert len(rows) == len(shown_folders()) + len(NUMBERED)
    assert sum("<img" in row for row in rows) == sum("tinypython-dense/" not in r for r in rows)


def copied(tmp_path, name):
    """A dense circuit, in a folder of the given name."""
    return Path(shutil.copytree(EXAMPLE, tmp_path / "tinypython-dense" / name))


def test_a_folder_that_is_kept_as_numbers_prints_the_same_table(tmp_path):
    """Every number of the circuit stays; its edges and the example pair go."""
    folder = copied(tmp_path, "var_if")
    circuit, before = gallery_folders.numbers(folder), list(gallery_tables.tables([folder]))
    assert gallery_folders.is_found(folder)
    for _ in range(2):  # what is small already stays as it is
        gallery_folders.keep_less(folder)
        assert sorted(p.name for p in folder.iterdir()) == ["numbers.json", "validation.json"]
        assert list(gallery_tables.tables([folder])) == before
        assert gallery_folders.is_found(folder)
    kept = gallery_folders.numbers(folder)
    assert kept.pop("circuit_sha256") == Validation.load(folder).circuit_sha256
    assert kept == {k: v for k, v in circuit.items() if k not in ("edges", "surroundings")}


def test_what_validate_needs_is_kept_of_an_example(tmp_path):
    """Files of the circuit, their bytes as they were."""
    folder = copied(tmp_path, "if_equals")
    (folder / "findings.csv").write_text("")
    gallery_folders.keep_less(folder)
    names = {p.name for p in folder.iterdir()}
    assert names == set(gallery_folders.VALIDATED)
    assert all((folder / n).read_bytes() == (EXAMPLE / n).read_bytes() for n in names)


def test_a_dense_circuit_is_not_validated_beside_numbers(tmp_path):
    """The verdict would be another one than beside the circuits: refused before any search."""
    gallery_folders.keep_less(copied(tmp_path, "var_if"))
    one = tmp_path / "tinypython-dense" / "with_as"
    with pytest.raises(SystemExit, match=r"only the numbers are kept. Make all of them: delete .*"):
        make_gallery.make([one], 1, whole=False)
    assert not one.exists()


class Commands:
    """``circuitkit`` that copies what it would have found."""

    def __init__(self):
        self.ran = []

    def __call__(self, verb, *arguments):
        folder = next(path for path in arguments if isinstance(path, Path))
        self.ran.append((verb, name_of(folder)))
        folder.mkdir(parents=True, exist_ok=True)
        made = {
            "extract": ("circuit.json", "means.safetensors", "pruning.json", "sources.json"),
            "validate": ("validation.json",),
            "report": (),
        }
        for name in made[verb]:
            shutil.copy(EXAMPLE / name, folder / name)
        if verb == "report":
            for name in (*gallery_folders.REDRAWN, "circuit.svg"):
                (folder / name).write_text("")


NAMES = ("tinypython-dense/var_if", "tinypython-dense/with_as", "tinypython-nano/if_equals")


@pytest.mark.parametrize("whole", [True, False], ids=["elsewhere", "in the gallery"])
def test_everything_missing_is_made_and_then_once(tmp_path, monkeypatch, whole):
    """All are found before one is validated; a second run makes nothing, nor removes any."""
    commands = Commands()
    monkeypatch.setattr(make_gallery, "run", commands)
    paths = [tmp_path / name for name in NAMES]
    make_gallery.make(paths, 1, whole=whole)
    verbs = [verb for verb, _ in commands.ran]
    assert verbs[:6] == ["extract"] * 3 + ["validate"] * 3
    made = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))
    assert ("tinypython-dense/var_if/circuit.json" in made) == whole
    assert ("tinypython-dense/var_if/numbers.json" in made) == (not whole)
    assert "tinypython-nano/if_equals/report.pdf" in made
    commands.ran.clear()
    make_gallery.make(paths, 1, whole=whole)
    assert commands.ran == []
    assert made == sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))


def test_the_tables_of_another_folder_are_those_of_what_is_there(tmp_path, monkeypatch, capsys):
    """Nothing is made, nor written."""
    shutil.copytree(
        GALLERY / "tinypython-nano" / "if_ternary", tmp_path / "tinypython-nano/if_ternary"
    )
    before = sorted(tmp_path.rglob("*"))
    arguments = ["make_gallery.py", "--table", "--out", str(tmp_path), "tinypython-nano"]
    monkeypatch.setattr(sys, "argv", arguments)
    make_gallery.main()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| if_")]
    assert [row.split(" | ")[0] for row in rows] == ["| if_ternary"]
    assert sorted(tmp_path.rglob("*")) == before


def test_an_index_of_another_folder_is_refused(tmp_path, monkeypatch, capsys):
    """It says what this gallery keeps."""
    monkeypatch.setattr(sys, "argv", ["make_gallery.py", "--index", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        make_gallery.main()
    assert "leave out --out" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_twins_are_compared_where_both_are_made(tmp_path):
    """A task that one of the checkpoints lacks has no row."""
    names = (
        "tinypython-dense/for_while",
        "tinypython-dense/if_equals",
        "tinypython-sparse/if_equals",
    )
    folders = [Path(shutil.copytree(GALLERY / name, tmp_path / name)) for name in names]
    rows = "".join(gallery_tables.tables(folders)).rpartition("ratio of edges")[2].splitlines()
    assert rows[2:] == ["| if_equals | 24 / 22 | 124 / 1,057 | 48 |"]
