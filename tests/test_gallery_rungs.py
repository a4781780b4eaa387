"""Laws of both rungs in the gallery: files, ladder and verdicts agree, and tables show them."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from circuitkit import Circuit, CircuitFolder, Validation, load_task
from circuitkit.circuit.folder import MEANS, PRUNING
from circuitkit.extraction.ladder import Step, read_ladder, save_ladder
from circuitkit.findings import DEFAULT_CLAIMS

sys.path.append(str(Path(__file__).parent / "benchmarks"))
sys.path.append(str(Path(__file__).parents[1] / "reports"))

import gallery_page
import gallery_rungs
import gallery_tables
from gallery_folders import UNREAD, kept, numbers
from gallery_rungs import Ladder, climbed, summary
from shown import GALLERY, shown_folders

NUMBERED = [path.parent for path in sorted(GALLERY.glob("*/*/numbers.json"))]
EVERY = [*shown_folders(), *NUMBERED]
NANO, SPARSE, DENSE = (GALLERY / f"tinypython-{name}" for name in ("nano", "sparse", "dense"))
STEP = Step(
    rung="smallest", outcome="target_met", n_nodes=0, n_edges=0, f_mean=0.9, f_interchange=-1.25,
    follows=0.0, f_norms=0.5, gain=1.0, cue_kept=1.0,
)  # fmt: skip


def name_of(path):
    """Checkpoint and task."""
    return "/".join(path.parts[-2:])


def problems(folder):
    """Where what a folder of the gallery says of its rungs does not agree."""
    circuit = Circuit.load(folder)
    opened, steps = CircuitFolder(folder), {step.rung: step for step in read_ladder(folder)}
    circuits, verdicts = {circuit.rung: circuit}, {circuit.sha256: folder / "validation.json"}
    if smallest := opened.smallest:
        circuits[smallest.rung] = smallest
        verdicts[smallest.sha256] = folder / "smallest.validation.json"
    if (smallest is not None) != (circuit.rung == "trusted"):
        yield "smallest.json is there if circuit.json is the trusted one"
    if (folder / "smallest.validation.json").exists() != (smallest is not None):
        yield "each circuit has its verdict"
    if len({(c.task.sha256, c.checkpoint.sha256, c.means_sha256) for c in circuits.values()}) > 1:
        yield "both circuits are of one task, model and means"
    for sha256, path in verdicts.items():
        if path.exists() and json.loads(path.read_bytes())["circuit_sha256"] != sha256:
            yield f"{path.name} names its circuit"
    if bool(steps) != (circuit.rung is not None) or not circuits.keys() - {None} <= steps.keys():
        yield "every circuit of a rung has its row"
    for rung, step in steps.items():
        if found := circuits.get(rung):
            if (step.n_nodes, step.n_edges) != (found.n_nodes, found.n_edges):
                yield f"the row {rung} has the size of its circuit"
        elif step.outcome != "not_reached" or not step.failed:
            yield f"the row {rung} without a circuit says what failed"


@pytest.mark.parametrize("folder", shown_folders(), ids=name_of)
def test_files_ladder_and_verdicts_of_a_folder_agree(folder):
    """Whichever rung was reached; a dense circuit is the smallest."""
    assert list(problems(folder)) == []
    assert folder.parent != DENSE or Circuit.load(folder).rung in (None, "smallest")


@pytest.mark.parametrize("folder", EVERY, ids=name_of)
def test_a_folder_made_since_there_are_rungs_holds_no_more_than_is_kept(folder):
    """Each file is one that the gallery keeps; the record of the search is what is read again."""
    found = numbers(folder)
    if found.get("rung") is None:
        pytest.skip("made before there were rungs")
    assert {path.name for path in folder.iterdir()} == set(kept(folder))
    (step, *_), smallest = read_ladder(folder), Ladder.read(folder).smallest
    assert (step.rung, step.n_edges) == ("smallest", smallest.n_edges)
    if (folder / PRUNING).exists():
        assert not set(UNREAD) & json.loads((folder / PRUNING).read_bytes()).keys()


def verdict_on(folder, failed="minimal"):
    """A verdict of the default suite in which one claim fails, or none."""
    found = [f for f in Validation.load(folder).findings if f.claim in DEFAULT_CLAIMS]
    findings = tuple(
        f.model_copy(update={"outcome": "fail" if f.claim == failed else "pass"}) for f in found
    )
    weakest = failed or findings[0].claim
    return Validation.load(folder).model_copy(update={"findings": findings, "weakest": weakest})


def made(tmp_path, name, *, reached=True):
    """A folder of two rungs: a task's smallest circuit, and that of a larger task as the other."""
    source = CircuitFolder.open(GALLERY / name)
    folder = tmp_path / name
    folder.mkdir(parents=True)
    shutil.copy(source.path / MEANS, folder / MEANS)
    (folder / PRUNING).write_text(json.dumps({"config": {}} | dict.fromkeys(UNREAD, 0)))
    smallest = source.at("smallest").model_copy(update={"rung": "smallest", "asks": None})
    larger = CircuitFolder.open(source.path.parent / "enumerate_range").at("smallest")
    same = {"task": smallest.task, "checkpoint": smallest.checkpoint, "rung": "trusted"}
    trusted = larger.model_copy(update=same | {"means_sha256": smallest.means_sha256})
    verdict = verdict_on(source.path)
    top = trusted if reached else smallest
    top.save(folder)
    bound = {"circuit_sha256": top.sha256, "grade": "B"}
    verdict.model_copy(update=bound).save(folder)
    if reached:
        smallest.save(folder, "smallest.json")
        of_smallest = verdict.model_copy(update={"circuit_sha256": smallest.sha256, "grade": "C"})
        of_smallest.save(folder, "smallest.validation.json")
    first = replace(STEP, n_nodes=smallest.n_nodes, n_edges=smallest.n_edges)
    second = replace(
        STEP, rung="trusted", n_nodes=trusted.n_nodes, n_edges=trusted.n_edges, f_interchange=0.75,
        **({} if reached else {"outcome": "not_reached", "failed": "norms at 1.20 of its limit"}),
    )  # fmt: skip
    save_ladder([first, second], folder)
    return folder


def drop(name):
    return lambda folder: (folder / name).unlink()


def resize(folder):
    first, second = read_ladder(folder)
    save_ladder([first, replace(second, n_edges=second.n_edges + 1)], folder)


def unsaid(folder):
    first, second = read_ladder(folder)
    save_ladder([first, replace(second, failed="")], folder)


def swap(folder):
    shutil.copy(folder / "validation.json", folder / "smallest.validation.json")


def other_means(folder):
    changed = Circuit.load(folder, "smallest.json").model_copy(update={"means_sha256": "0" * 64})
    changed.save(folder, "smallest.json")


@pytest.mark.parametrize(
    ("reached", "harm", "said"),
    [
        (True, drop("smallest.json"), "smallest.json is there if"),
        (True, drop("smallest.validation.json"), "each circuit has its verdict"),
        (True, swap, "smallest.validation.json names its circuit"),
        (True, drop("ladder.csv"), "every circuit of a rung has its row"),
        (True, resize, "the row trusted has the size of its circuit"),
        (True, other_means, "both circuits are of one task, model and means"),
        (False, unsaid, "the row trusted without a circuit says what failed"),
    ],
)
def test_a_folder_whose_rungs_do_not_agree_is_found(tmp_path, reached, harm, said):
    """Each law fires, and none on a folder that is right."""
    folder = made(tmp_path, "tinypython-nano/if_equals", reached=reached)
    assert list(problems(folder)) == []
    harm(folder)
    assert any(problem.startswith(said) for problem in problems(folder))


def sizes(*names):
    """Nodes / edges of the smallest circuits of tasks of the gallery, and the numbers of edges."""
    found = [Ladder.read(GALLERY / name).smallest for name in names]
    return [rung.size for rung in found], [rung.n_edges for rung in found]


def test_a_table_shows_both_rungs_and_their_price(tmp_path):
    """Size, F under interchange, grade of each; the weakest claim of the trusted one."""
    names = ("tinypython-nano/if_equals", "tinypython-nano/var_if")
    folders = [made(tmp_path, names[0]), made(tmp_path, names[1], reached=False)]
    (few, many, not_reached), (n_few, n_many, _) = sizes(
        names[0], "tinypython-nano/enumerate_range", names[1]
    )
    text, page = "".join(gallery_tables.tables(folders)), gallery_page.index(tmp_path)
    price = f"{n_many / n_few:.1f} ×"
    row = f" | {many} | 0.75 | B | minimal | {few} | -1.25 | C | {price} | "
    assert row in page
    assert f" | {many} | 0.75 | B | " in text
    assert f" | {few} | -1.25 | C | {price} |\n" in text
    unreached = (
        f"not reached | – | – | norms at 1.20 of its limit | {not_reached} | -1.25 | B | – |"
    )
    assert unreached in page
    assert unreached in text
    assert all(load_task(folder.name).question in page for folder in folders)
    said = (
        "Trusted circuits on 1 of 2 tasks: B 1. Smallest circuits: B 1, C 1. "
        f"Price of trust, in edges: geometric mean {price} ({n_many / n_few:.1f} to "
        f"{n_many / n_few:.1f}). Not in this mean: 1 without a trusted circuit, whose price is "
        "unknown."
    )
    assert said in text
    assert said in page


def test_what_each_rung_does_is_summed_up(tmp_path):
    """Medians with their range, how many turn the answer, the grades; no row without circuits."""
    folders = [made(tmp_path, f"tinypython-nano/{task}") for task in ("if_equals", "var_if")]
    _, (n1, n2) = sizes("tinypython-nano/if_equals", "tinypython-nano/var_if")
    rows = list(gallery_tables.rungs(folders))[1:]
    assert rows[0] == (
        f"| tinypython-nano, smallest | 2 | {(n1 + n2) / 2:.0f} | 0.90 | -1.25 (-1.25 to -1.25) "
        "| 0.00 (0.00 to 0.00) | 0 of 2 | C 2 |\n"
    )
    assert "| 0.75 (0.75 to 0.75) | 0.00 (0.00 to 0.00) | 0 of 2 | B 2 |" in rows[1]
    save_ladder([replace(read_ladder(folders[0])[1], follows=0.95)], folders[0])
    assert "| 1 of 2 | B 2 |" in list(gallery_tables.rungs(folders))[-1]
    missed = made(tmp_path, "tinypython-nano/else_elif", reached=False)
    assert len(list(gallery_tables.rungs([missed]))) == 2
    assert list(gallery_tables.rungs([DENSE / "if_equals"])) == []


def test_the_mean_price_is_that_of_the_tasks_that_have_one(tmp_path):
    """Geometric; a task without a trusted circuit is counted apart, not as 1."""
    reached = [made(tmp_path, f"tinypython-nano/{task}") for task in ("if_equals", "else_elif")]
    missed = made(tmp_path, "tinypython-nano/var_if", reached=False)
    ladders = [Ladder.read(folder) for folder in (*reached, missed)]
    first, second, none = (ladder.price for ladder in ladders)
    assert none is None
    assert f"geometric mean {(first * second) ** 0.5:.1f} × (" in summary(ladders)
    assert "Not in this mean: 1 " in summary(ladders)
    assert "Not in this mean" not in summary(ladders[:2])
    assert "Price" not in summary(ladders[2:])


def test_a_checkpoint_without_a_climb_has_one_rung_in_its_table(tmp_path):
    """No empty columns; the line below counts grades."""
    ladders = [Ladder.read(folder) for folder in EVERY if folder.parent == DENSE]
    assert not climbed(ladders)
    text = "".join(gallery_tables.tables([ladder.folder for ladder in ladders]))
    assert "trusted" not in text
    assert f"\n{len(ladders)} circuits: " in text


def test_twins_are_compared_at_both_rungs(tmp_path):
    """A task that one of the checkpoints lacks has no row; one without a trusted circuit a dash."""
    tasks = ("for_while", "if_equals", "var_if")
    dense = [Path(shutil.copytree(DENSE / t, tmp_path / DENSE.name / t)) for t in tasks]
    sparse = [
        made(tmp_path, "tinypython-sparse/if_equals"),
        made(tmp_path, "tinypython-sparse/var_if", reached=False),
    ]
    text = "".join(gallery_tables.tables([*dense, *sparse])).rpartition("at least |")[2]
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    (d1, d2, s1, s2, t), (n1, n2, e1, e2, e) = sizes(
        *(f"tinypython-dense/{task}" for task in tasks[1:]),
        *(f"tinypython-sparse/{task}" for task in tasks[1:]), "tinypython-sparse/enumerate_range",
    )  # fmt: skip
    assert rows == [
        f"| if_equals | {d1} | {s1} | {t} | {n1 / e1:.0f} × | {n1 / e:.0f} × |",
        f"| var_if | {d2} | {s2} | – | {n2 / e2:.0f} × | – |",
    ]
    mean = ((n1 / e1) * (n2 / e2)) ** 0.5
    assert f"ratio: {mean:.1f} × (2 tasks) at the smallest rung" in text
    assert f"at least {n1 / e:.1f} × (1 task) at the trusted one" in text


@pytest.mark.parametrize(
    ("grade", "failed", "said"),
    [("B", "", "the thorough suite was not run"), ("A", "", "nothing"), ("C", "minimal", "minimal"),
     ("C", "", "integrity")],
)  # fmt: skip
def test_what_keeps_a_grade_from_a_better_one_is_named(grade, failed, said):
    """A claim that passes is named only where the grade rests on it: C for few templates."""
    verdict = verdict_on(NANO / "if_equals", failed).model_copy(update={"grade": grade})
    assert verdict.short_of == gallery_rungs.failed(verdict) == said


def test_a_circuit_without_a_picture_says_so(tmp_path):
    """In the place of its paths."""
    folder = made(tmp_path, "tinypython-nano/if_equals")
    (made(tmp_path, "tinypython-nano/var_if") / "paths.svg").write_text("<svg/>")
    page = gallery_page.index(tmp_path)
    assert f"\n| none | **{folder.name}**" in page
    assert page.count("<img") == 1


def test_as_many_smallest_circuits_pass_the_papers_measure_as_the_docs_say():
    """Sufficiency and necessity, of the two sparse models."""
    verdicts = [
        Validation.load(
            folder, "smallest.validation.json" if opened.smallest else "validation.json"
        )
        for folder in shown_folders()
        if folder.parent in (NANO, SPARSE)
        for opened in [CircuitFolder(folder)]
    ]
    passes = [v["sufficient"].outcome == v["necessary"].outcome == "pass" for v in verdicts]
    page = (GALLERY.parents[1] / "docs" / "comparison.md").read_text()
    assert f"{sum(passes)} of the {len(passes)} smallest circuits of the sparse models" in page
