"""Laws of families on a model: found, searched, compared, and named as they were planted."""

import json
import re
import shutil
import sys
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from test_cli import cli
from test_thorough import QUICK
from test_validation import circuit_of

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.circuit import CircuitFolder
from circuitkit.circuit.folder import FAMILIES_SVG
from circuitkit.circuit.transfer import FILE, TABLE, WHOLE, Bounded, Overlap, Transfer
from circuitkit.compiled import FoldedModel
from circuitkit.errors import CircuitError, TaskError, UsageError
from circuitkit.extraction import ExtractConfig, measure_means, restarts, run_extraction
from circuitkit.extraction.masked_model import masked_differences, tapped_differences
from circuitkit.families import by_family, extract_by_family, family_search, find_families
from circuitkit.families import clusters as clusters_module
from circuitkit.families.clusters import find_clusters
from circuitkit.families.family_search import FamilySearch
from circuitkit.families.goes_with import goes_with
from circuitkit.families.measure_transfer import FamilyTrial, TransferTrial, measure_transfer
from circuitkit.families.name_mechanisms import ALIKE, F_DOES, Matrix, name_mechanisms
from circuitkit.families.pair_effects import pair_effects
from circuitkit.findings import Claim
from circuitkit.model import pair_losses
from circuitkit.model.other_prompt import other_rows
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant
from circuitkit.progress import silent
from circuitkit.statistics.intervals import STUDENT, ratio_of_few
from circuitkit.task import load_task
from circuitkit.validation.ablations import ablated_differences
from circuitkit.validation.claims.one_mechanism import check_one_mechanism
from circuitkit.validation.search_trial import SearchTrial
from circuitkit.validation.trial import Trial
from circuitkit.validation.validate_folder import thorough_inputs
from circuitkit.views.overlay_diagram import overlay_diagram
from circuitkit.views.page import write_page
from circuitkit.views.palette import FILLS, HUES
from circuitkit.views.report import write_report
from circuitkit.views.reported import Reported
from circuitkit.views.svg import render
from circuitkit.views.transfer_section import transfer_section

FEW = replace(QUICK, n_test=48, rung="smallest", restarts=2)
FORMED = (
    "two_mechanisms", "shared_entry", "shared_exit", "surface_forms", "harder_form", "either_way",
)  # fmt: skip
"""Planted models whose prompts have forms."""

LN2 = float(np.log(2))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A planted model as a user has it, saved once; no brute force."""

    @cache
    def grow(name, **options):
        folder = tmp_path_factory.mktemp(name)
        planted = plant(name, **options)
        save_checkpoint(
            folder, planted.model, name=name, tokenizer=planted.tokenizer,
            reference=planted.reference,
        )  # fmt: skip
        (folder / "task.jsonl").write_text(planted.task_lines)
        return SimpleNamespace(
            planted=planted, folder=folder, checkpoint=load_checkpoint(folder),
            task=load_task(folder / "task.jsonl"), model=planted.model,
        )  # fmt: skip

    return grow


def by_hand(at, out):
    """A folder as ``extract --by-family`` leaves it, with the circuits that were wired."""
    means = measure_means(at.model, at.planted.reference, checkpoint_sha256=at.checkpoint.sha256)
    found = find_families(at.checkpoint, at.task, progress=silent)
    tasks = {f.name: f.task_of(at.task) for f in found.families.families}
    whole = circuit_of(at.checkpoint, at.task, at.planted.wired[0], means, 48)
    parts = {
        form: circuit_of(
            at.checkpoint,
            tasks[form],
            circuits[i % len(circuits)],
            means,
            48,
            outcome="target_met",
        )
        for i, (form, circuits) in enumerate(at.planted.by_form.items())
    }
    search = FamilySearch(
        checkpoint=at.checkpoint, task=at.task, found=found, config=FEW, means=means, where={},
        progress=silent, out=out,
    )  # fmt: skip
    transfer = search.transfer(parts, whole)
    for folder, circuit, task in (
        (out, whole, at.task),
        *((out / "families" / form, part, tasks[form]) for form, part in parts.items()),
    ):
        means.save(folder)
        CircuitFolder(folder).save_sources(task, {"checkpoint": str(at.folder)})
        circuit.save(folder)
    transfer.save(out)
    return SimpleNamespace(
        **vars(at), out=out, whole=whole, parts=parts, means=means, transfer=transfer
    )


@pytest.fixture(scope="module")
def compared(grown, tmp_path_factory):
    """The wired circuits of a planted model in a folder, compared; nothing is searched."""

    @cache
    def compare(name):
        return by_hand(grown(name), tmp_path_factory.mktemp("out") / name)

    return compare


@pytest.fixture(scope="module", autouse=True)
def without_explanations():
    """How a circuit comes to its answer takes as long as all the rest, and is not asked here."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            sys.modules["circuitkit.extraction.find_circuit"], "explain", lambda *_: None
        )
        yield


@pytest.fixture(scope="module")
def searched(grown, tmp_path_factory):
    """A planted model extracted by family, in a folder."""
    at = grown("two_mechanisms")
    out = tmp_path_factory.mktemp("searched") / "out"
    found = extract_by_family(at.checkpoint, at.task, FEW, out=out, progress=silent)
    return SimpleNamespace(**vars(at), out=out, found=found, transfer=found.transfer)


# Effects and clusters


def test_an_effect_is_what_an_interchange_takes_away_where_nothing_bends(grown):
    """In a model of average heads alone: node by node, pair by pair."""
    at = grown("harder_form")
    pairs = at.checkpoint.ask(at.task, "test", 12)
    effects = pair_effects(at.model, pairs)
    assert effects.shape == (12, sum(at.model.arch.widths.values()))
    source = SimpleNamespace(model=at.model, seed=0, passes=0)
    own = tapped_differences(at.model, pairs, None)
    nodes = list(NodeSet.full(at.model.arch.widths))
    for node in at.planted.mechanism:
        rest = NodeSet.full(at.model.arch.widths) - NodeSet.of([node])
        without = ablated_differences(source, "resample_pair", rest, pairs)
        lost = (own - without).view(2, -1).mean(0)
        assert torch.allclose(effects[:, nodes.index(node)], lost, atol=1e-4)
    dead = [i for i, node in enumerate(nodes) if node not in at.planted.mechanism]
    assert float(effects[:, dead].abs().max()) < 1e-5


def test_swapping_the_sides_of_a_pair_changes_no_effect(grown):
    """An effect is the mean of both ways round."""
    at = grown("shared_exit")
    pairs = at.checkpoint.ask(at.task, "test", 6)
    rows = other_rows(pairs)
    turned = replace(
        pairs, tokens=pairs.tokens[rows], last=pairs.last[rows], answers=pairs.answers[rows],
        foils=pairs.foils[rows],
    )  # fmt: skip
    assert torch.allclose(pair_effects(at.model, pairs), pair_effects(at.model, turned), atol=1e-6)


def drawn(*centres, n=40, noise=0.05, seed=0):
    """Vectors around centres, with ten templates each."""
    rng = np.random.default_rng(seed)
    vectors = [c + noise * rng.standard_normal((n, len(c))) for c in map(np.array, centres)]
    templates = [f"t{k}-{i % 10}" for k in range(len(centres)) for i in range(n)]
    return np.concatenate(vectors), templates


@pytest.mark.parametrize("n", [1, 2, 3])
def test_as_many_clusters_as_directions(n):
    """One is an answer too."""
    vectors, templates = drawn(*np.eye(6)[:n])
    labels = find_clusters(vectors, templates).labels(vectors)
    assert len(set(labels)) == n
    assert all(len(set(labels[i * 40 : (i + 1) * 40])) == 1 for i in range(n))


def test_more_of_the_same_is_no_cluster():
    """Twice the effects on the same nodes, or a little of another: one mechanism."""
    vectors, templates = drawn([1.0, 1.0, 0], [2.0, 2.0, 0.3])
    assert set(find_clusters(vectors, templates).labels(vectors)) == {0}


def test_clusters_that_halves_do_not_share_do_not_count(monkeypatch):
    """A cloud without structure can be cut in two anywhere."""
    rng = np.random.default_rng(1)
    cloud, templates = rng.standard_normal((80, 30)), [f"t{i % 16}" for i in range(80)]
    monkeypatch.setattr(clusters_module, "ALIKE", 2.0)
    found = find_clusters(cloud, templates)
    assert len(found.centres) == 1
    assert found.strength[1] == 1.0
    assert found.strength[2] < clusters_module.STABLE


def test_the_same_seed_gives_the_same_clusters():
    """And equal vectors are one cluster, without a warning."""
    vectors, templates = drawn([1, 0], [0, 1])
    first, second = (find_clusters(vectors, templates, 3).centres for _ in range(2))
    assert np.array_equal(first, second)
    assert len(find_clusters(np.ones((30, 4)), ["a", "b", "c"] * 10).centres) == 1


def test_effects_find_the_families_that_were_planted(grown):
    """And the form says each pair's family."""
    found = find_families(
        grown("shared_entry").folder, grown("shared_entry").task, by="effects", progress=silent
    )
    assert found.families.names == ("cluster1", "cluster2")
    form = next(each for each in found.goes_with if each.name == "form")
    assert (form.share, form.explained) == (1.0, 1.0)
    alone = {str(n) for n in grown("shared_entry").planted.mechanism}
    assert all(set(nodes) <= alone for nodes in found.nodes.values())


@pytest.mark.parametrize("name", ["surface_forms", "closing_quote"])
def test_other_words_are_no_other_family_by_effects(grown, name):
    """One, although the forms are three."""
    found = find_families(grown(name).folder, grown(name).task, by="effects", progress=silent)
    assert found.families.names == ("cluster1",)


def test_what_goes_with_a_family_is_tested_on_other_pairs(grown):
    """A label drawn at random goes with nothing, whatever has many values."""
    at = grown("surface_forms")
    pairs = at.checkpoint.ask(at.task, "test", 200)
    names = [str(i) for i in range(at.model.arch.vocab_size)]
    labels = list(np.random.default_rng(0).choice(["x", "y"], len(pairs)))
    assert all(each.share < 0.65 for each in goes_with(pairs, labels, names))
    forms = [template.partition("/")[0] for template in pairs.templates]
    found = {each.name: each for each in goes_with(pairs, forms, names)}
    assert found["form"].share == 1.0
    assert 0.5 < found["cue"].share < 0.9  # plain and busy have the same cue


def test_one_family_by_effects_is_an_answer_and_no_picture(grown, tmp_path):
    """An earlier one goes: nothing was searched that it could show."""
    at = grown("closing_quote")
    (tmp_path / "out").mkdir()
    config = replace(FEW, method="attribution", restarts=1, pruning=None)
    for _ in range(2):
        found = extract_by_family(
            at.folder, at.task, config, by="effects", out=tmp_path / "out", progress=silent
        )
        assert (found.transfer.outcome, found.parts) == ("one", {})
        assert not (tmp_path / "out/families.svg").exists()
        (tmp_path / "out/families.svg").write_text("of an earlier search")


# The outcome


def matrix(f, n_nodes=(5, 5, 5), shared=5, spread=0.05, **more):
    """A matrix of F over families a, b and c."""
    names = tuple("abc"[: len(f)])
    cells = {
        (c, g): Bounded(effect=x, low=x - spread, high=x + spread)
        for c, row in zip(names, f, strict=True) for g, x in zip(names, row, strict=True)
    }  # fmt: skip
    sizes = dict(zip(names, n_nodes, strict=False))
    overlaps = [
        Overlap(first=a, second=b, n_shared=shared, n_either=sizes[a] + sizes[b] - shared)
        for i, a in enumerate(names) for b in names[i + 1 :]
    ]  # fmt: skip
    return Matrix(names=names, f=cells, n_nodes=sizes, overlaps=overlaps, **more)


ALL = [[1, 0.9, 0.9], [0.9, 1, 0.9], [0.9, 0.9, 1]]
NO = -0.5


@pytest.mark.parametrize(
    ("found", "outcome", "reason"),
    [
        (matrix(ALL), "one", "does every family; the least alike share 5 of 5 nodes"),
        (matrix(ALL, shared=2), "either", "two ways, either is enough; they share 2 of 8 nodes"),
        (matrix([[1, NO, NO], [0.9, 1, 0.9], [NO, NO, 1]], (4, 9, 5)), "nested",
         "b needs 4 nodes more: its circuit does every family, that of a, c does not"),
        (matrix([[1, NO], [0.9, 1]], (4, 5)), "nested", "b needs 1 node more: its circuit does"),
        (matrix([[1, 0.9, NO], [0.9, 1, NO], [NO, NO, 1]], (4, 5, 7), 2), "several",
         "a union: 4 nodes for a, b; 7 nodes for c; two of them share 2 nodes"),
        (matrix([[1, NO, NO], [0.9, 1, 0.9], [0.9, 0.62, 1]], (4, 9, 5)), "nested",
         "that of a does not; of that of c it is open"),
        (matrix([[0.62, NO, NO], [NO, 1, NO], [NO, NO, 1]]), "undecided",
         "1 of 9 intervals include the limit of 0.6, such as F of a's circuit on a"),
        (matrix([[0.62, NO, NO], [0.9, 1, 0.9], [NO, NO, 1]]), "nested", "that of a, c does not"),
        (matrix([[1, 0.58, 0.9], [0.9, 1, 0.9], [0.9, 0.9, 1]]), "undecided",
         "1 of 9 intervals include the limit of 0.6, such as F of a's circuit on b"),
        (matrix([[0.5, 0.5], [0.5, 0.5]]), "undecided",
         "the circuit of a, b does not do its own family, F 0.50 [0.45, 0.55] on a: a lower"),
        (matrix([[1]]), "one", "one family: nothing to compare"),
        (matrix([[1]], left_out=("d",)), "undecided", "with d left out there is nothing"),
        (matrix(ALL, missing=("d",)), "undecided", "no circuit of d alone meets the target"),
    ],
)  # fmt: skip
def test_the_outcome_of_a_matrix(found, outcome, reason):
    """With the sentence that a reader needs."""
    named = name_mechanisms(found)
    assert named.outcome == outcome
    assert reason in named.reason


def test_an_interval_decides_and_not_the_effect():
    """One that includes the limit leaves a family open, on either side."""
    for effect in (F_DOES + 0.01, F_DOES - 0.01):
        found = [[1, effect], [0.9, 1]]
        assert name_mechanisms(matrix(found)).outcome == "undecided"
        assert name_mechanisms(matrix(found, spread=0.001)).outcome != "undecided"


def test_groups_do_each_other():
    """The largest first."""
    found = matrix([[1, NO, NO], [NO, 1, 0.9], [NO, 0.9, 1]])
    assert name_mechanisms(found).groups == (("b", "c"), ("a",))


def test_without_intervals_nothing_is_decided():
    """Too few templates bound nothing."""
    open_cells = {key: b.model_copy(update={"low": None, "high": None}) for key, b in
                  matrix(ALL).f.items()}  # fmt: skip
    assert name_mechanisms(replace(matrix(ALL), f=open_cells)).outcome == "undecided"


def test_four_templates_have_an_interval():
    """Student's, wider than that of more with the same spread; one template has none."""
    few = ratio_of_few([1, 2, 3, 4], [4, 4, 4, 4], "abcd")
    more = ratio_of_few([1, 2, 3, 4] * 2, [4] * 8, "abcdefgh")
    assert few.method == STUDENT
    assert few.effect == more.effect == 0.625
    assert few.low < more.low < more.high < few.high
    assert not ratio_of_few([1, 2], [2, 2], "aa").is_bounded


# Transfer


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMED)
def test_the_outcome_is_the_one_that_was_planted(compared, name):
    """Of the circuits that were wired for each form."""
    at = compared(name)
    assert at.transfer.outcome == at.planted.outcome, at.transfer.reason
    assert at.transfer.names == tuple(sorted(at.planted.by_form))


def test_the_searches_find_what_was_wired(searched):
    """For each form its own circuit, and the same outcome."""
    assert searched.transfer.outcome == searched.planted.outcome == "several"
    for form, circuits in searched.planted.by_form.items():
        assert searched.found.parts[form].circuit.nodes in circuits


def test_overlap_of_nodes_answers_another_question(compared):
    """Two ways share nothing and each does everything; nested circuits share most and do not."""
    either, nested = compared("either_way").transfer, compared("harder_form").transfer
    assert either.overlaps[0].jaccard == 0 < ALIKE
    assert min(cell.f.low for cell in either.cells) > F_DOES
    assert nested.overlaps[0].jaccard > ALIKE
    assert nested.cell("easy", "hard").f.high < F_DOES


def test_a_cell_is_the_loss_by_the_definition(compared):
    """Of the masked model, on the test pairs of the family; F and F_x with it."""
    at = compared("harder_form")
    values = at.means.values
    for family in find_families(at.folder, at.task, progress=silent).families.families:
        pairs = at.checkpoint.encode(list(family.pairs["test"]))
        own = float(pair_losses(tapped_differences(at.model, pairs, None)).mean())
        source = SimpleNamespace(model=at.model, seed=0, passes=0)
        for form, part in at.parts.items():
            nodes = NodeSet(part.nodes.channels, at.model.arch.widths)
            loss = float(pair_losses(masked_differences(at.model, pairs, nodes, values)).mean())
            other = pair_losses(ablated_differences(source, "resample_pair", nodes, pairs)).mean()
            cell = at.transfer.cell(form, family.name)
            assert cell.loss_nats == pytest.approx(loss, abs=1e-5)
            assert cell.f.effect == pytest.approx((LN2 - loss) / (LN2 - own), abs=1e-4)
            assert cell.f_x.effect == pytest.approx((LN2 - float(other)) / (LN2 - own), abs=1e-3)


def test_the_folder_holds_the_whole_and_its_parts(searched):
    """Each part is a circuit folder, which says of itself what it was made from."""
    at = searched
    folder = CircuitFolder.open(at.out)
    assert Transfer.load(at.out) == folder.transfer == at.transfer
    assert (at.out / TABLE).read_text().count("\n") == 1 + len(at.transfer.cells)
    assert set(at.transfer.rows) == {"far", "near", WHOLE}
    assert list(folder.parts) == ["far", "near"]
    assert "by='forms', out='DIR')" in Reported.of(folder).commands[-2]
    for name, part in folder.parts.items():
        assert part.circuit == at.found.parts[name].circuit
        assert part.task.sha256 == part.circuit.task.sha256
        assert part.circuit.means_sha256 == folder.circuit.means_sha256
        assert part.is_drawn


def test_families_of_a_task_are_no_other_tasks(searched):
    """A part is compared with no circuit beside it; nor is the whole with its parts."""
    folder = CircuitFolder(searched.out)
    assert not folder.is_part
    assert all(part.is_part for part in folder.parts.values())
    assert [list(part.beside()) for part in folder.parts.values()] == [[], []]
    assert list(folder.beside()) == []


def test_a_stopped_extraction_goes_on_to_the_same_bytes(searched, tmp_path, monkeypatch):
    """What is finished is read and not searched again."""
    at = searched
    out = shutil.copytree(at.out, tmp_path / "again")
    (out / FILE).unlink()
    shutil.rmtree(out / "families" / "near")
    anew, verb = [], sys.modules["circuitkit.extraction.extract"]
    find = verb.find_circuit
    monkeypatch.setattr(
        verb, "find_circuit", lambda x, *rest: anew.append(x.task.name) or find(x, *rest)
    )
    extract_by_family(at.checkpoint, at.task, FEW, out=out, resume=True, progress=silent)
    assert anew == ["task.near"]
    files = [path.relative_to(at.out) for path in at.out.rglob("*") if path.is_file()]
    assert [f for f in files if (at.out / f).read_bytes() != (out / f).read_bytes()] == []


def test_another_circuit_in_the_folder_takes_the_parts_away(compared, tmp_path):
    """And so does another sorting, those that it has not."""
    at = compared("two_mechanisms")
    out = shutil.copytree(at.out, tmp_path / "out")
    assert CircuitFolder(out).parts
    run_extraction(at.checkpoint, at.task, replace(FEW, seed=1), out=out, progress=silent)
    assert not (out / "families").exists()
    assert not (out / FILE).exists()


def test_another_sorting_that_is_stopped_leaves_no_comparison(searched, tmp_path, monkeypatch):
    """The parts that it was of have gone, or are others."""
    at = searched
    out = shutil.copytree(at.out, tmp_path / "out")

    def stopped(search):
        raise KeyboardInterrupt

    monkeypatch.setattr("circuitkit.families.by_family.FamilySearch.run", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract_by_family(
            at.checkpoint, at.task, FEW, by="effects", out=out, resume=True, progress=silent
        )
    assert CircuitFolder(out).transfer is None
    assert not (out / TABLE).exists()
    write_page(out)


def test_a_part_that_is_another_circuit_is_none(compared, tmp_path):
    """Nor is one that was removed; the report does without its picture."""
    at = compared("two_mechanisms")
    out = shutil.copytree(at.out, tmp_path / "out")
    shutil.copy(out / "families/far/circuit.json", out / "families/near/circuit.json")
    assert list(CircuitFolder(out).parts) == ["far"]
    shutil.rmtree(out / "families")
    assert CircuitFolder(out).parts == {}
    write_page(out)


@pytest.mark.parametrize(
    ("key", "damaged"),
    [
        ("cells", lambda rows: rows[1:]),
        ("cells", lambda rows: [*rows, rows[0] | {"circuit": "zzz"}]),
        ("overlaps", lambda rows: [*rows, rows[0] | {"first": "zzz"}]),
    ],
)
def test_a_matrix_with_a_hole_or_a_stranger_is_refused(compared, tmp_path, key, damaged):
    """Every circuit on every family, and no other."""
    made = json.loads(compared("two_mechanisms").transfer.to_bytes())
    (tmp_path / FILE).write_text(json.dumps(made | {key: damaged(made[key])}))
    with pytest.raises(CircuitError, match=r"transfer\.json is not a transfer"):
        Transfer.load(tmp_path)


def test_a_transfer_without_a_matrix_has_a_table_without_rows(compared, tmp_path):
    """That of a task with one family."""
    one = compared("two_mechanisms").transfer.model_copy(
        update={"families": (), "cells": (), "overlaps": ()}
    )
    one.save(tmp_path)
    assert pd.read_csv(tmp_path / TABLE).columns[:3].tolist() == ["circuit", "family", "loss_nats"]
    assert str(Bounded(effect=-1e-9, low=-0.001, high=0.5)) == "0.00 [0.00, 0.50]"


def test_a_transfer_of_another_circuit_is_not_shown(compared, tmp_path):
    """It says nothing of this one; a file that is none is an error."""
    at = compared("two_mechanisms")
    out = shutil.copytree(at.out, tmp_path / "out")
    at.transfer.model_copy(update={"circuit_sha256": "0" * 64}).save(out)
    assert CircuitFolder(out).transfer is None
    assert CircuitFolder(out).parts == {}
    (out / FILE).write_text("{}")
    with pytest.raises(CircuitError, match=r"transfer\.json is not a transfer: task: Field"):
        Transfer.load(out)


@pytest.fixture
def found_again(searched, monkeypatch):
    """Every search finds what it found before, at once."""
    monkeypatch.setattr(by_family, "run_extraction", lambda *_, **__: searched.found.whole)
    parts = searched.found.parts
    monkeypatch.setattr(FamilySearch, "_one", lambda self, family, *_: parts[family.name])
    return parts


def test_a_family_without_a_circuit_leaves_the_outcome_open(searched, found_again, monkeypatch):
    """Another family's circuit may do it, or none may."""
    near = found_again["near"]
    missed = near.circuit.model_copy(update={"outcome": "target_missed"})
    parts = {**found_again, "near": replace(near, circuit=missed)}
    monkeypatch.setattr(FamilySearch, "_one", lambda self, family, *_: parts[family.name])
    transfer = extract_by_family(searched.checkpoint, searched.task, FEW, progress=silent).transfer
    assert transfer.outcome == "undecided"
    assert transfer.names == ("far",)
    assert any("near is left out: no circuit of its own" in note for note in transfer.notes)


def test_a_family_that_the_model_does_not_do_is_left_out(grown, tmp_path):
    """With its loss and its accuracy."""
    at = grown("two_mechanisms")
    lines = [json.loads(line) for line in at.planted.task_lines.splitlines()]
    for line in lines:
        if line["template"].startswith("near/"):
            line["a"]["answer"], line["b"]["answer"] = line["b"]["answer"], line["a"]["answer"]
    path = tmp_path / "wrong.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = find_families(at.folder, path, progress=silent)
    assert found.families.names == ("far",)
    assert any("near is left out: the model does not do it" in n for n in found.families.notes)


def test_edges_and_families_do_not_go_together(grown):
    """What is compared is nodes."""
    at = grown("two_mechanisms")
    config = ExtractConfig(granularity="edge", rung="smallest")
    with pytest.raises(UsageError, match="what is compared is nodes"):
        extract_by_family(at.checkpoint, at.task, config, progress=silent)


def test_a_large_model_has_its_candidates_found_once(searched, found_again, monkeypatch):
    """For all families together; each family's circuit is searched among them."""
    at, seen, given = searched, [], []
    monkeypatch.setattr(family_search, "SMALL_MODEL", 0)
    monkeypatch.setattr(
        family_search, "find_candidates",
        lambda train, criterion, **_: seen.append(criterion.target_loss_nats)
        or at.planted.mechanism,
    )  # fmt: skip
    monkeypatch.setattr(
        FamilySearch, "_one",
        lambda self, family, within, *_: given.append(within) or found_again[family.name],
    )  # fmt: skip
    assert extract_by_family(at.checkpoint, at.task, FEW, progress=silent).transfer.names
    assert seen == [0.15]
    assert given == [at.planted.mechanism] * 2


@pytest.mark.parametrize(("asked", "target"), [(None, 0.2), (0.05, 0.05)])
def test_candidates_are_for_the_target_of_the_families_that_are_kept(searched, asked, target):
    """Not for one that the model does not do, nor for another target than the one asked for."""
    at = searched
    found = find_families(at.checkpoint, at.task, progress=silent)
    found = replace(found, loss_nats={"far": 0.2, "near": 0.0, "not done": 1.2})
    search = FamilySearch(
        checkpoint=at.checkpoint, task=at.task, found=found, means=at.found.whole.means, where={},
        config=replace(FEW, target_loss_nats=asked), progress=silent,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(family_search, "SMALL_MODEL", 0)
        patched.setattr(
            family_search, "find_candidates", lambda _, criterion, **__: criterion.target_loss_nats
        )
        assert search._candidates() == target


@pytest.mark.parametrize("reason", ["missed", "beaten"])
def test_a_family_is_searched_again_where_one_restart_is_not_enough(searched, reason, monkeypatch):
    """It misses the target, or another family's circuit is smaller and does it too."""
    at, parts, asked = searched, searched.found.parts, []

    def one(self, family, within, restarts, begun):
        asked.append((family.name, restarts))
        if restarts > 1 or family.name == "near":
            return parts[family.name]
        circuit = parts["far"].circuit
        if reason == "missed":
            circuit = circuit.model_copy(update={"outcome": "target_missed"})
        else:  # near's circuit counts as one of far's that is smaller than far's own
            circuit = circuit.model_copy(update={"n_edges": 99})
        return replace(parts["far"], circuit=circuit)

    monkeypatch.setattr(by_family, "run_extraction", lambda *_, **__: at.found.whole)
    monkeypatch.setattr(FamilySearch, "_one", one)
    if reason == "beaten":
        monkeypatch.setattr(
            FamilySearch, "_has_smaller", lambda self, family, *_: family.name == "far"
        )
    found = extract_by_family(at.checkpoint, at.task, FEW, progress=silent)
    assert asked == [("far", 1), ("near", 1), ("far", FEW.restarts)]
    assert found.parts["far"].circuit.nodes == parts["far"].circuit.nodes


def test_a_second_round_goes_on_from_the_restarts_of_the_first(searched, monkeypatch):
    """It runs the others alone, and ends with the circuit and the record of one round."""
    at, ranked = searched, []
    rank = restarts.rank
    monkeypatch.setattr(
        restarts, "rank", lambda *args, **more: ranked.append(args[3]) or rank(*args, **more)
    )
    first = run_extraction(at.checkpoint, at.task, replace(FEW, restarts=1), progress=silent)
    again = run_extraction(
        at.checkpoint, at.task, FEW, begun=first.restarts, brief=True, progress=silent
    )
    assert ranked == [0, 1]
    whole = at.found.whole
    assert (again.circuit, again.pruning) == (whole.circuit, whole.pruning)


def test_resume_of_families_that_were_searched_again_does_nothing(grown, tmp_path, monkeypatch):
    """Nor does it lose what was made from their circuits; stopped between, it goes on."""
    at = grown("two_mechanisms")
    monkeypatch.setattr(FamilySearch, "_has_smaller", lambda self, family, *_: family.name == "far")
    first = extract_by_family(at.checkpoint, at.task, FEW, out=tmp_path / "out", progress=silent)
    verdict = tmp_path / "out/families/far/validation.json"
    verdict.write_text("{}")
    searched = []
    run = restarts.follow
    monkeypatch.setattr(
        restarts, "follow", lambda *args, **more: searched.append(args) or run(*args, **more)
    )
    again = extract_by_family(
        at.checkpoint, at.task, FEW, out=tmp_path / "out", resume=True, progress=silent
    )
    assert (searched, verdict.exists()) == ([], True)
    assert again.transfer == first.transfer
    assert list(again.parts) == list(first.parts) == ["far", "near"]
    CircuitFolder(tmp_path / "out/families/far").forget_circuit()
    once_more = extract_by_family(
        at.checkpoint, at.task, FEW, out=tmp_path / "out", resume=True, progress=silent
    )
    assert (len(searched), once_more.transfer) == (FEW.restarts, first.transfer)
    CircuitFolder(tmp_path / "out").forget_parts()
    assert not (tmp_path / "out/families").exists()


def test_tuning_takes_the_place_of_restarts_in_each_family(compared):
    """So there is no second round with more of them."""
    at = compared("harder_form")
    search = FamilySearch(
        checkpoint=at.checkpoint, task=at.task, means=at.means, where={}, progress=silent,
        found=find_families(at.checkpoint, at.task, progress=silent),
        config=ExtractConfig(tune=3, rung="smallest"),
    )  # fmt: skip
    assert search.settings(1).restarts == search.config.restarts
    assert replace(search, config=FEW).settings(1).restarts == 1


@pytest.mark.parametrize(
    ("reached", "rung"),
    [(("trusted", "trusted"), "trusted"), (("smallest", "trusted"), "smallest"), ((), "smallest")],
)
def test_the_rung_of_a_transfer_is_that_of_all_its_circuits(compared, reached, rung):
    """Whichever family comes first."""
    at = compared("harder_form")
    families = [
        FamilyTrial(
            name=name, folder=None, pairs=at.checkpoint.ask(at.task, "test", 24),
            circuit=part.model_copy(update={"rung": one}),
        )
        for one, (name, part) in zip(reached, at.parts.items(), strict=False)
    ]  # fmt: skip
    trial = TransferTrial(
        task=at.transfer.task, checkpoint=at.transfer.checkpoint, by="forms", model=at.model,
        values=at.means.values, whole=None, seed=0, families=families, notes=(), missing=(),
    )  # fmt: skip
    assert measure_transfer(trial).rung == rung


def test_smaller_counts_only_what_does_the_family(compared):
    """On its own selection pairs."""
    at = compared("harder_form")
    found = find_families(at.checkpoint, at.task, progress=silent)
    search = FamilySearch(
        checkpoint=at.checkpoint, task=at.task, found=found, config=FEW, means=at.means, where={},
        progress=silent,
    )  # fmt: skip
    easy, hard = found.families.families
    folded = FoldedModel(at.model, at.means.values)
    assert not search._has_smaller(hard, at.parts, folded)
    large = {**at.parts, "easy": at.parts["easy"].model_copy(update={"n_edges": 99})}
    assert search._has_smaller(easy, large, folded)


# The claim


def trial_of(at, **more):
    trial = Trial(
        checkpoint=at.checkpoint, model=at.model, task=at.task, circuit=at.whole,
        means=at.means, reference=at.checkpoint.load_reference(),
        pairs=at.checkpoint.ask(at.task, "test", 48), seed=0,
    )  # fmt: skip
    return SearchTrial.of(trial, FEW, **more)


@pytest.mark.parametrize(
    ("name", "outcome", "word"),
    [("harder_form", "pass", "NESTED"), ("two_mechanisms", "fail", "SEVERAL"),
     ("either_way", "fail", "EITHER")],
)  # fmt: skip
def test_the_claim_uses_the_circuits_that_are_kept(compared, name, outcome, word, monkeypatch):
    """Without a search; the note says the outcome and its reason."""
    at = compared(name)
    monkeypatch.setattr(FamilySearch, "_one", None)
    given = thorough_inputs(CircuitFolder(at.out), at.whole)
    finding = check_one_mechanism(trial_of(at, parts=given.parts, parts_by=given.parts_by))
    assert finding.outcome == outcome
    assert finding.note.startswith(f"{word}: {at.transfer.reason}; circuits kept in the folder")
    assert finding.n_draws == len(at.transfer.names)


def test_the_claim_searches_where_nothing_is_kept(compared, monkeypatch):
    """And says how much that was."""
    at, asked = compared("shared_exit"), []

    def one(self, family, within, restarts, begun):
        asked.append((family.name, restarts, self.settings(restarts).rung))
        return SimpleNamespace(circuit=at.parts[family.name])

    monkeypatch.setattr(FamilySearch, "_one", one)
    finding = check_one_mechanism(trial_of(at))
    assert finding.outcome == "fail"
    assert "2 searches of one restart each" in finding.note
    across = (at.transfer.cell(*way).f for way in (("side", "height"), ("height", "side")))
    assert finding.effect == pytest.approx(max(f.effect for f in across), abs=1e-3)
    assert asked == [("height", 1, "smallest"), ("side", 1, "smallest")]


def test_the_claim_is_open_where_families_are_left_out(compared, tmp_path):
    """One family that is left says nothing of the others."""
    at = compared("two_mechanisms")
    lines = [
        line for line in at.planted.task_lines.splitlines(True)
        if "near/" not in line or "near/select" in line or "near/train" in line
    ]  # fmt: skip
    (tmp_path / "task.jsonl").write_text("".join(lines))
    trial = trial_of(at)
    trial.task = load_task(tmp_path / "task.jsonl")
    finding = check_one_mechanism(trial)
    assert finding.outcome == "not_run"
    assert "near is left out" in finding.note


# What a person sees


def test_families_are_listed(grown):
    """As a table, and as JSON; the way on is printed."""
    at = grown("shared_exit")
    ran = cli("families", at.folder / "task.jsonl", "--checkpoint", at.folder, "-q")
    assert ran.code == 0
    assert "task on shared_exit: 2 families by forms" in ran.out
    assert f"next: circuitkit extract {at.folder} --task" in ran.out
    ran = cli("families", at.folder / "task.jsonl", "--checkpoint", at.folder, "--json", "-q",
              "--by", "effects")  # fmt: skip
    assert [f["name"] for f in ran.json["families"]] == ["cluster1", "cluster2"]
    assert ran.json["stability"]["2"] == 1.0


def test_extract_by_family_prints_the_outcome(searched, found_again, tmp_path):
    """With the matrix; the sorting alone is refused."""
    at = searched
    asked = ("extract", at.folder, "--task", at.folder / "task.jsonl", "--out", tmp_path / "o")
    ran = cli(*asked, "--by-family", "-q")
    assert ran.code == 0
    assert "mechanisms: several: a union: 4 nodes for far; 4 nodes for near" in ran.out
    assert "the whole task" in ran.out
    assert Transfer.load(tmp_path / "o").outcome == "several"
    ran = cli(*asked, "--by-family", "-q", "--json")
    assert ran.json["transfer"]["outcome"] == "several"
    ran = cli(*asked, "--families", "forms", "-q")
    assert ran.code == 2
    assert "--families forms says how --by-family sorts prompts" in ran.err


def test_report_and_page_show_the_matrix(compared):
    """A row a circuit; what a circuit does not do is marked."""
    at = compared("harder_form")
    reported = Reported.of(CircuitFolder(at.out))
    section = transfer_section(reported.transfer, reported.parts)
    assert [row["name"] for row in section["rows"]] == ["easy", "hard", "the whole task"]
    assert [[c["fails"] for c in row["cells"]] for row in section["rows"]] == [
        [False, True], [False, False], [False, False],
    ]  # fmt: skip
    page = write_page(at.out).read_text()
    assert "Families of prompts" in page
    assert "The circuits of the families in one graph" in page
    assert write_report(at.out).stat().st_size > 0
    assert transfer_section(None, {}) is None


def test_a_node_has_the_colours_of_the_circuits_it_is_in(searched):
    """Grey where all have it; the picture lies in the folder."""
    parts = {name: part.circuit for name, part in searched.found.parts.items()}
    svg = (searched.out / FAMILIES_SVG).read_text()
    assert svg == render(overlay_diagram(parts))
    source = overlay_diagram(parts).source
    fills = dict(re.findall(r'^\t"([^" ]+)" \[.*?fillcolor="([^"]+)"', source, re.MULTILINE))
    for node in {node for part in parts.values() for node in part.nodes}:
        hues = [h for h, part in zip(HUES, parts.values(), strict=False) if node in part.nodes]
        assert fills[str(node)] == (FILLS["read"] if len(hues) == len(parts) else ":".join(hues))


def test_a_picture_has_as_many_circuits_as_colours(searched):
    """More cannot be told apart."""
    whole = searched.found.whole.circuit
    many = {str(i): whole for i in range(len(HUES) + 1)}
    with pytest.raises(UsageError, match="a picture of 13 circuits: expected 1 to 12"):
        overlay_diagram(many)


def test_the_claim_is_in_the_thorough_suite():
    """After what asks of the circuit alone."""
    assert list(Claim).index(Claim.ONE_MECHANISM) == list(Claim).index(Claim.STANDS_ALONE) + 1


def test_an_unknown_sorting_is_refused(grown):
    """With those that there are."""
    at = grown("shared_exit")
    with pytest.raises(TaskError, match="expected forms, effects, or a column named family"):
        find_families(at.folder, at.task, by="length", progress=silent)


def test_no_family_is_called_as_the_row_of_the_whole_task(grown, tmp_path):
    """Its circuit would be taken for that of the whole."""
    at, path = grown("shared_exit"), tmp_path / "task.jsonl"
    text = (at.folder / "task.jsonl").read_text()
    form = next(iter(find_families(at.folder, at.task, progress=silent).accuracy))
    path.write_text(text.replace(f'"{form}/', '"whole/'))
    with pytest.raises(TaskError, match="a family is called 'whole', expected any other name"):
        find_families(at.folder, path, progress=silent)
