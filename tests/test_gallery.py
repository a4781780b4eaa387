"""Laws of the circuits that are shown: each is what its file says, and the folder is small."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from markupsafe import escape

from circuitkit import Circuit, CircuitFolder, Validation, load_checkpoint
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.nodes import NodeSet, Site
from circuitkit.validation.validate_folder import thorough_inputs
from circuitkit.views.page import SCRIPTS, _shipped
from circuitkit.views.page_evidence import trust

sys.path.append(str(Path(__file__).parent / "benchmarks"))
sys.path.append(str(Path(__file__).parents[1] / "reports"))

import gallery_folders
import gallery_page
import gallery_tables
import make_gallery
from minimality import Selected
from shown import GALLERY, Shown, shown_folders

SMALL = [f"tinypython-nano/{task}" for task in ("final_kwarg", "if_ternary")]
AT_MOST_BYTES = 40_000_000
PAGED = [folder for folder in shown_folders() if folder.parent.name != gallery_folders.DENSE]
NUMBERED = [path.parent for path in sorted(GALLERY.glob("*/*/numbers.json"))]
EXAMPLE = GALLERY / "tinypython-dense" / "if_equals"


def name_of(path):
    return "/".join(path.parts[-2:])


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_no_single_node_can_go(name):
    """Of the smallest rung, by the masked model, apart from the search; one too many is found."""
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
    expected = list(make_gallery.folders(GALLERY, make_gallery.CHECKPOINTS))
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


@pytest.mark.parametrize("folder", PAGED, ids=name_of)
def test_a_page_is_of_its_circuit_and_of_the_page_as_it_is_now(folder):
    """Its nodes are the circuit's, its verdict the folder's; style and scripts are those shipped.

    To make it again: delete it and run ``python reports/make_gallery.py CHECKPOINT/TASK``.
    """
    html = (folder / "report.html").read_bytes().decode()
    circuit, validation = Circuit.load(folder), Validation.load(folder)
    _, data = html.split('<script type="application/json" id="data">', 1)
    (shown,) = json.loads(data.partition("</script>")[0])
    assert list(shown["nodes"]) == list(map(str, circuit.nodes))
    assert all(line in html for line in map(escape, trust(validation)))
    assert all(_shipped(name) in html for name in ("page.css", *SCRIPTS))


def test_the_index_is_what_the_folders_say():
    """Regenerated, byte for byte."""
    written = (GALLERY / "README.md").read_bytes().decode()
    assert written == gallery_page.index(GALLERY), "python reports/make_gallery.py --index"


def test_the_index_names_every_circuit_and_links_to_files_that_exist():
    """A row a task; a picture for every circuit of a sparse checkpoint, or why there is none."""
    text = gallery_page.index(GALLERY)
    links = re.findall(r"\]\(([^)]+)\)|(?:href|src)=\"([^\"]+)\"", text)
    paths = [link.partition("#")[0] for found in links for link in found if link]
    missing = [path for path in paths if not (GALLERY / path).exists()]
    assert missing == []
    rows = [line for line in text.splitlines() if "validation.json](" in line]
    assert len(rows) == len(shown_folders()) + len(NUMBERED)
    sparse = [row for row in rows if "tinypython-dense/" not in row]
    undrawn = f"| more than {gallery_folders.MOST_DRAWN} edges |"
    assert all(("<img" in row) != row.startswith(undrawn) for row in sparse)
    large = [f for f in shown_folders() if Circuit.load(f).n_edges > gallery_folders.MOST_DRAWN]
    assert sum(row.startswith(undrawn) for row in sparse) <= len(large)


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
    """Files of the circuit, their bytes as they were; of the record of the search, what is read."""
    folder = copied(tmp_path, "if_equals")
    record = json.loads((folder / "pruning.json").read_text())
    unread = {key: {"0.attn.q": [0.5]} for key in gallery_folders.UNREAD}
    (folder / "pruning.json").write_text(json.dumps(record | unread))
    (folder / "findings.csv").write_text("")
    gallery_folders.keep_less(folder)
    names = {p.name for p in folder.iterdir()}
    assert names - set(gallery_folders.CLIMBED) == set(gallery_folders.VALIDATED)
    same = names - {"pruning.json"}
    assert all((folder / n).read_bytes() == (EXAMPLE / n).read_bytes() for n in same)
    left = {k: v for k, v in record.items() if k not in gallery_folders.UNREAD}
    assert json.loads((folder / "pruning.json").read_text()) == left
    opened = CircuitFolder.open(folder)
    assert thorough_inputs(opened, opened.circuit).search.restarts == left["config"]["restarts"]


@pytest.mark.parametrize("n_edges", [80, 81])
def test_a_diagram_is_kept_of_a_circuit_that_it_shows(tmp_path, n_edges):
    """At most eighty edges; the complete folder has its diagram whatever its size."""
    assert gallery_folders.MOST_DRAWN == 80
    for task in ("if_equals", gallery_folders.COMPLETE):
        folder = tmp_path / "tinypython-sparse" / task
        folder.mkdir(parents=True)
        (folder / "circuit.json").write_text(json.dumps({"n_edges": n_edges}))
        drawn = "circuit.svg" in gallery_folders.kept(folder)
        assert drawn == (n_edges == 80 or task == gallery_folders.COMPLETE)


def test_a_dense_circuit_is_not_validated_beside_numbers(tmp_path):
    """The verdict would be another one than beside the circuits: refused before any search."""
    gallery_folders.keep_less(copied(tmp_path, "var_if"))
    one = tmp_path / "tinypython-dense" / "with_as"
    with pytest.raises(SystemExit, match=r"only the numbers are kept. Make all of them: delete .*"):
        make_gallery.make([one], 1, whole=False)
    assert not one.exists()


class Commands:
    """``circuitkit`` that copies what it would have found, both rungs unless told otherwise."""

    def __init__(self):
        self.ran = []

    @classmethod
    def put_into(cls, monkeypatch):
        """Nothing is explained either."""
        commands = cls()
        monkeypatch.setattr(make_gallery, "run", commands)
        explained = lambda folder: (folder / "explanation.json").write_text("")  # noqa: E731
        monkeypatch.setattr(make_gallery, "explain_folder", explained)
        return commands

    def __call__(self, verb, *arguments):
        folder = next(path for path in arguments if isinstance(path, Path))
        options = [a for a in arguments if str(a).startswith("--") and a not in ("--task", "--out")]
        self.ran.append((verb, name_of(folder), *options))
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in self._made(verb, options).items():
            shutil.copy(source, folder / name)
        drawn = (*gallery_folders.REDRAWN, "circuit.svg", "paths.svg")
        if verb == "report":
            for name in ("report.html",) if "--format" in options else drawn:
                (folder / name).write_text("")

    @staticmethod
    def _made(verb, options):
        if verb == "validate":
            name = "smallest.validation.json" if "--rung" in options else "validation.json"
            return {name: (LONG if "--thorough" in options else EXAMPLE) / "validation.json"}
        if verb == "report":
            return {}
        names = ("circuit.json", "means.safetensors", "pruning.json", "sources.json")
        smallest = {} if "--rung" in options else {"smallest.json": EXAMPLE / "circuit.json"}
        return {name: EXAMPLE / name for name in names} | smallest


LONG = GALLERY / "tinypython-nano" / "if_equals"
NAMES = ("tinypython-dense/var_if", "tinypython-dense/with_as", "tinypython-nano/for_while")


@pytest.mark.parametrize("whole", [True, False], ids=["elsewhere", "in the gallery"])
def test_everything_missing_is_made_and_then_once(tmp_path, monkeypatch, whole):
    """All are found before one is validated; a second run makes nothing, nor removes any."""
    commands = Commands.put_into(monkeypatch)
    paths = [tmp_path / name for name in NAMES]
    make_gallery.make(paths, 1, whole=whole)
    verbs = [verb for verb, *_ in commands.ran]
    assert verbs[:7] == ["extract"] * 3 + ["validate"] * 4
    made = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))
    assert ("tinypython-dense/var_if/circuit.json" in made) == whole
    assert ("tinypython-dense/var_if/numbers.json" in made) == (not whole)
    assert "tinypython-nano/for_while/report.pdf" in made
    commands.ran.clear()
    make_gallery.make(paths, 1, whole=whole)
    assert commands.ran == []
    assert made == sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))


def test_both_rungs_are_made_and_of_a_dense_model_the_smallest(tmp_path, monkeypatch):
    """Both are validated, and kept with their verdicts."""
    commands = Commands.put_into(monkeypatch)
    dense, nano = tmp_path / NAMES[0], tmp_path / NAMES[2]
    make_gallery.make([dense, nano], 1, whole=False)
    assert ("extract", NAMES[0], "--resume", "--rung") in commands.ran
    assert ("extract", NAMES[2], "--resume") in commands.ran
    validated = [ran[1:] for ran in commands.ran if ran[0] == "validate"]
    assert validated == [(NAMES[0],), (NAMES[2],), (NAMES[2], "--rung")]
    assert {"smallest.json", "smallest.validation.json"} <= {p.name for p in nano.iterdir()}
    assert not (dense / "smallest.json").exists()


def test_the_long_suite_is_run_once_where_it_is_asked_for(tmp_path, monkeypatch):
    """On the tasks of the list, never in a dense model; the verdict holds its claims afterwards."""
    commands = Commands.put_into(monkeypatch)
    paths = [tmp_path / name for name in (*NAMES, "tinypython-nano/var_if")]
    make_gallery.make(paths, 1, whole=True)
    assert not any("--thorough" in ran for ran in commands.ran)
    for _ in range(2):
        make_gallery.make(paths, 1, whole=True, thorough=True)
    assert [ran[1] for ran in commands.ran if "--thorough" in ran] == [NAMES[2]]


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
