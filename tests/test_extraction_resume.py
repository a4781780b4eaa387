"""Laws of an extraction that was killed: it goes on, and ends with the same bytes."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from tiny import nodes

from circuitkit.checkpoints import load_checkpoint
from circuitkit.circuit import CircuitFolder
from circuitkit.circuit.folder import SEARCH as FILE
from circuitkit.errors import SavedInterrupt, UsageError
from circuitkit.extraction import ExtractConfig, PruningConfig, SavedSearch, run_extraction
from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.mask_learning import Scores
from circuitkit.extraction.restarts import single_threaded
from circuitkit.extraction.resume import search_key
from circuitkit.extraction.search import Restart
from circuitkit.planted import plant
from circuitkit.task import load_task

CONFIG = ExtractConfig(target_loss_nats=0.15, restarts=2, rung="smallest",
                       pruning=PruningConfig(n_steps=25))  # fmt: skip


class KilledError(Exception):
    """What stands for a kill: nothing of the package catches it."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    plant("neuron_chain").save(folder)
    return load_checkpoint(folder), load_task(folder / "task.jsonl")


@pytest.fixture(scope="module")
def straight(inputs):
    """The same extraction, never killed and nowhere kept."""
    return content(run_extraction(*inputs, CONFIG))


def content(extraction):
    return extraction.circuit.to_json(), extraction.means.to_bytes(), extraction.pruning


def killed_at(stage, inputs, folder, config=CONFIG):
    """Run until a stage is reported."""

    def progress(told, done, total):
        if told == stage and done == total:
            raise KilledError(stage)

    with pytest.raises(KilledError, match=stage):
        run_extraction(*inputs, config, out=folder, progress=progress)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["means", "eliminate 1", "masks 2"])
def test_a_killed_extraction_goes_on_to_the_same_bytes(tmp_path, inputs, straight, stage):
    """Wherever it was killed; what was finished is not done again."""
    killed_at(stage, inputs, tmp_path)
    told = set()
    resumed = run_extraction(
        *inputs, CONFIG, out=tmp_path, resume=True, progress=lambda *step: told.add(step[0])
    )
    assert content(resumed) == straight
    before = ["means", "masks 1", "eliminate 1", "masks 2", "eliminate 2"]
    done = before[: before.index(stage)]
    assert not told & set(done)
    assert stage in told


def test_one_killed_behind_its_circuit_leaves_no_record(tmp_path, inputs, straight):
    """The circuit is there, and the record of its search is removed when it is asked for again."""
    killed_at("diagram", inputs, tmp_path)
    assert (tmp_path / FILE).exists()
    assert content(run_extraction(*inputs, CONFIG, out=tmp_path, resume=True)) == straight
    assert not (tmp_path / FILE).exists()


def test_what_another_extraction_left_is_not_taken_up(tmp_path, inputs):
    """Another seed, another target, another set of nodes: each begins anew."""
    killed_at("masks 2", inputs, tmp_path)
    key = json.loads((tmp_path / FILE).read_text())["key"]
    widths = inputs[0].load_model().arch.widths
    saved = SavedSearch(CircuitFolder(tmp_path))
    saved.begin(key)
    assert saved.scores(0, widths) is not None
    saved.begin("0" * 64)
    assert saved.scores(0, widths) is None
    assert saved.means(widths) is None


def test_a_restart_goes_on_within_itself(tmp_path, inputs, monkeypatch):
    """What it had decided is not decided again; the circuit and the counts are the same."""
    monkeypatch.setattr("circuitkit.extraction.answers.SECONDS", 0.0)
    one = replace(CONFIG, restarts=1)
    decided, decide = [], Criterion._decide

    def watched(criterion, tried):
        if criterion.answers is not None:
            decided.append(tried)
        return decide(criterion, tried)

    monkeypatch.setattr(Criterion, "_decide", watched)
    whole = content(run_extraction(*inputs, one, out=tmp_path / "whole"))
    sets, decided[:] = list(decided), []

    def progress(told, done, total):
        if len(decided) == len(sets) // 2:
            raise KilledError("in elimination")

    with pytest.raises(KilledError):
        run_extraction(*inputs, one, out=tmp_path / "killed", progress=progress)
    n_before = len(decided)
    assert 0 < n_before < len(sets)
    assert content(run_extraction(*inputs, one, out=tmp_path / "killed", resume=True)) == whole
    assert decided == sets


def test_what_a_restart_decided_goes_with_its_result(tmp_path):
    """The file holds answers of a restart that runs, of none that has ended."""
    first, second = (SavedSearch(CircuitFolder(tmp_path)) for _ in range(2))
    first.begin("k")
    answers = first.answers(0)
    assert answers.of(nodes("0.attn.q:1"), lambda _: True)
    answers.save(answers.known)
    second.begin("k")
    assert second.answers(0).of(nodes("0.attn.q:1"), pytest.fail)
    assert second.answers(1).known == {}
    one = nodes("0.attn.q:1")
    scores = Scores(ranks={}, learned=one, history=())
    restart = Restart(
        learning=CONFIG.learning, scores=scores, outcome="target_met", nodes=one, n_edges=0,
        n_judged=1,
    )  # fmt: skip
    second.keep_restart(0, restart)
    assert second.answers(0).known == {}
    assert SavedSearch().answers(0) is None


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["masks 2", "diagram"], ids=["stopped", "finished"])
def test_resume_refuses_another_extraction_and_or_replace_does_not(tmp_path, inputs, stage):
    """Nothing of what was found is lost to another seed."""
    killed_at(stage, inputs, tmp_path)
    if stage == "diagram":
        run_extraction(*inputs, CONFIG, out=tmp_path, resume=True)
    before = files_of(tmp_path)
    other = replace(CONFIG, seed=1, restarts=1)
    with pytest.raises(UsageError, match="with other settings, or by another version"):
        run_extraction(*inputs, other, out=tmp_path, resume=True)
    assert files_of(tmp_path) == before
    found = run_extraction(*inputs, other, out=tmp_path, resume="or_replace")
    assert content(found) == content(run_extraction(*inputs, other))


def stopped_at(stage, inputs, folder, config):
    """Ctrl-C while a stage runs."""

    def progress(told, done, total):
        if told == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        run_extraction(*inputs, config, out=folder, resume="or_replace", progress=progress)
    return stopped.type


def test_an_interrupt_says_whether_this_search_is_saved(tmp_path, inputs):
    """What another search left in the folder is not what this one saved."""
    other = replace(CONFIG, seed=1)
    assert stopped_at("means", inputs, tmp_path, CONFIG) is KeyboardInterrupt
    assert stopped_at("masks 1", inputs, tmp_path, CONFIG) is SavedInterrupt
    assert stopped_at("means", inputs, tmp_path, other) is KeyboardInterrupt


def test_whatever_an_extraction_depends_on_is_in_its_key(inputs):
    """Settings, reference and nodes to be had; the same again is the same key."""
    checkpoint, task = inputs
    reference = checkpoint.load_reference()
    keys = [
        search_key(checkpoint, task, CONFIG, None, None),
        search_key(checkpoint, task, replace(CONFIG, seed=1), None, None),
        search_key(checkpoint, task, CONFIG, reference, None),
        search_key(checkpoint, task, CONFIG, reference[:5], None),
        search_key(checkpoint, task, CONFIG, None, nodes("0.attn.q:1")),
    ]
    assert keys[0] == search_key(checkpoint, task, CONFIG, None, None)
    assert len(set(keys)) == len(keys)


def test_a_damaged_record_is_no_record(tmp_path, inputs, straight):
    """The search begins anew rather than failing or guessing."""
    killed_at("masks 1", inputs, tmp_path)
    (tmp_path / FILE).write_text("{")
    assert content(run_extraction(*inputs, CONFIG, out=tmp_path, resume=True)) == straight


def test_scores_come_back_exactly(tmp_path):
    """Every float32 and the history, to the last bit."""
    site = next(iter(nodes("0.attn.q:1").channels))
    generator = torch.Generator().manual_seed(0)
    ranks = {site: torch.randn(50, generator=generator) * 1e-7}
    scores = Scores(
        ranks=ranks, learned=nodes("0.attn.q:1"), history=((0.1 + 0.2, 3, 1e-4 / 3),),
        within=nodes("0.attn.q:1", "0.attn.q:2"),
    )  # fmt: skip
    first, second = (SavedSearch(CircuitFolder(tmp_path)) for _ in range(2))
    first.begin("k")
    first.keep_scores(0, scores)
    second.begin("k")
    found = second.scores(0, {site: 50})
    assert torch.equal(found.ranks[site], ranks[site])
    assert (found.learned, found.history, found.within) == (
        scores.learned, scores.history, scores.within,
    )  # fmt: skip
    first.end()
    assert list(tmp_path.iterdir()) == []


def test_restarts_side_by_side_find_what_they_find_in_turn(inputs, straight, monkeypatch):
    """The same bytes on one thread and on two; torch has its threads back afterwards."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    found = run_extraction(*inputs, CONFIG)
    assert content(found) == straight
    told = [restart["pruning"] for restart in found.pruning["restarts"]]
    assert told == [asdict(CONFIG.learning.of_restart(n)) for n in range(2)]
    monkeypatch.undo()
    before = torch.get_num_threads()
    with single_threaded(torch.device("cpu")) as n_threads:
        assert (n_threads, torch.get_num_threads()) == (before, 1)
    assert torch.get_num_threads() == before


def test_a_restart_that_fails_ends_the_others(inputs, monkeypatch):
    """And that failure is reported."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)

    def progress(stage, done, total):
        if stage == "masks 1" and done == 3:
            raise KilledError(stage)

    with pytest.raises(KilledError, match="masks 1"):
        run_extraction(*inputs, CONFIG, progress=progress)
