"""Laws of what an average or a knockout hides: a form that misses, another head inside."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from test_claims import on_trial

from circuitkit.checkpoints import load_checkpoint, save_checkpoint
from circuitkit.extraction import extract, measure_means
from circuitkit.nodes import NodeSet
from circuitkit.planted import plant
from circuitkit.planted.planted_prompts import random_text, task_lines, word_tokenizer
from circuitkit.planted.variation import Variation
from circuitkit.planted.wiring import Wiring
from circuitkit.task import load_task
from circuitkit.validation import validate
from circuitkit.validation.claims.necessary import check_necessary
from circuitkit.validation.claims.sufficient import check_sufficient
from circuitkit.validation.form_losses import in_words, loss_by_form, that_miss
from circuitkit.views.rerun_command import commands


def opened(folder, model, tokenizer, lines, reference):
    """A wired model, saved and read, with what a trial needs."""
    save_checkpoint(folder, model, name="wired", tokenizer=tokenizer, reference=reference)
    (folder / "task.jsonl").write_text(lines)
    checkpoint, task = load_checkpoint(folder), load_task(folder / "task.jsonl")
    loaded = checkpoint.load_model()
    means = measure_means(loaded, checkpoint.load_reference(), checkpoint_sha256=checkpoint.sha256)
    return SimpleNamespace(checkpoint=checkpoint, task=task, model=loaded, means=means)


# Another head between the same reads and writes


def heads(folder, n):
    """``n`` equal heads copy the cue to the answer, all through one read and one write."""
    w = Wiring(Variation(), ("'", '"'))
    w.embed("quote", {"'": 1, '"': 1})
    w.embed("single", {"'": 1})
    found = [w.lookup_head(1, "single", "close", key="quote") for _ in range(n)]
    answer = w.answer("close", "'", '"', gain=16 / n, middle=0.5 * n)
    sides = lambda i: (f"{i.before} ' {i.after}", f'{i.before} " {i.after}')  # noqa: E731
    lines = task_lines(("'", '"'), sides, None, 0)
    reference = random_text(len(w.tokens), 0)
    return opened(folder, w.model, word_tokenizer(w.tokens), lines, reference), [
        head | answer for head in found
    ]


def test_a_redundant_circuit_is_told_so_first(tmp_path):
    """The grade goes by the first word of the note."""
    planted = plant("twin_paths")
    at = opened(tmp_path, planted.model, planted.tokenizer, planted.task_lines, planted.reference)
    finding = check_necessary(on_trial(at, planted.wired[0]))
    assert finding.note.startswith("REDUNDANT: ")


# The loss of each form


def test_a_form_that_misses_is_named_whatever_the_mean():
    """By its own interval; a form above the target by less than that is not."""
    rng = np.random.default_rng(0)
    templates = [f"form{i % 3 + 1}/frame{i // 3 % 8}" for i in range(240)]
    means = {"form1": 0.05, "form2": 0.40, "form3": 0.152}
    losses = np.array([means[t.partition("/")[0]] for t in templates])
    losses = losses + rng.normal(0, 0.05, size=240)
    found = loss_by_form(losses, templates, seed=0)
    assert [(form.form, form.n_pairs, form.n_templates) for form in found] == [
        ("form1", 80, 8), ("form2", 80, 8), ("form3", 80, 8),
    ]  # fmt: skip
    assert sum(form.loss_nats * form.n_pairs for form in found) == pytest.approx(losses.sum())
    limits = dict.fromkeys(means, 0.15)
    (missed,) = that_miss(found, limits)
    assert in_words(missed).startswith("form2 alone misses the target: 0.")
    assert list(that_miss(found, limits, above_nats=0.2)) == [missed]
    assert list(that_miss(found, limits, above_nats=0.3)) == []
    assert list(that_miss(found, {**limits, "form2": 0.45})) == []


def test_a_form_of_few_templates_is_listed_and_not_judged():
    """Its interval is open, so nothing is said to be above."""
    found = loss_by_form(np.full(8, 0.5), ["form1/a", "form1/b"] * 4, seed=0)
    assert (found[0].low, found[0].high) == (None, None)
    assert list(that_miss(found, {"form1": 0.15})) == []


def test_templates_without_forms_have_none():
    """A name without a stroke tells no form."""
    assert loss_by_form(np.zeros(4), ["a", "b", "form1/c", "d"], seed=0) == ()


@pytest.mark.slow
def test_loss_by_form_is_in_the_validation_and_in_its_claim(tmp_path):
    """A mechanism that half of the prompts do not use: the mean tells, and so does the form."""
    planted = plant("decoys")
    lines = [json.loads(line) for line in planted.task_lines.splitlines()]
    for line in lines:
        agrees = line["a"]["prompt"].split()[-1] == "up"
        line["template"] = f"{'with' if agrees else 'against'}/{line['template']}"
    told = "".join(json.dumps(line) + "\n" for line in lines)
    at = opened(tmp_path, planted.model, planted.tokenizer, told, planted.reference)
    wrong = on_trial(at, NodeSet())
    note = check_sufficient(wrong).note
    assert "against alone misses the target" in note
    circuit = on_trial(at, planted.mechanism).circuit
    validation = validate(at.checkpoint, at.task, circuit, means=at.means)
    assert {form.form for form in validation.forms} == {"with", "against"}
    assert validation.model_validate_json(validation.model_dump_json()) == validation


# A form that few prompts are of


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory):
    """Two mechanisms for two forms, and so few prompts of one that the mean hides it."""
    planted = plant("two_mechanisms")
    lines = planted.task_lines.splitlines()
    near = [line for line in lines if json.loads(line)["template"].startswith("near/")]
    kept = [line for line in lines if line not in near] + near[::13]
    told = "".join(line + "\n" for line in kept)
    folder = tmp_path_factory.mktemp("lopsided")
    return opened(folder, planted.model, planted.tokenizer, told, planted.reference), planted


@pytest.mark.slow
def test_the_search_meets_the_target_on_every_form(lopsided):
    """On average the frequent form's mechanism is enough; asked of every form, both are found."""
    at, planted = lopsided
    far, near = (NodeSet(planted.by_form[form][0].channels) for form in ("far", "near"))
    plain = {"rung": "smallest", "restarts": 1}
    found = extract(at.checkpoint, at.task, on_average=True, **plain)
    assert NodeSet(found.nodes.channels) == far
    assert found.search.on_average
    assert " --on-average " in commands(found, None)[-2]
    found = extract(at.checkpoint, at.task, **plain)
    assert NodeSet(found.nodes.channels) == far | near
    assert found.search.on_average is None


def test_a_form_clearly_above_the_target_fails_whatever_the_mean(lopsided):
    """The mean is within what it may be, F too; one form is left to chance."""
    at, planted = lopsided
    finding = check_sufficient(on_trial(at, planted.by_form["far"][0]))
    assert finding.outcome == "fail"
    assert finding.note.startswith("near alone misses the target: 0.69")
    assert finding.high < 0.20
    assert check_sufficient(on_trial(at, planted.mechanism)).outcome == "pass"


def test_each_node_is_used_by_the_forms_of_its_mechanism(lopsided):
    """Leave-one-out, form by form: a mechanism's nodes matter on its own form alone."""
    at, planted = lopsided
    trial = on_trial(at, planted.mechanism)
    used = {use.node: use.forms for use in trial.left_out.uses}
    for form in ("far", "near"):
        for node in planted.by_form[form][0]:
            assert used[str(node)] == (form,)
    assert all(trial.left_out.matters.values())
