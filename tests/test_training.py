"""Laws of the trainer: what a run writes, and what stops one."""

import errno
import json
import math
import os
import signal
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_run import Stopped, contents, stopping_after, tiny_config

from circuitkit.checkpoints import convert_checkpoint, load_checkpoint, save_checkpoint
from circuitkit.corpora.tokenizer import START
from circuitkit.errors import (
    CheckpointError,
    ConfigError,
    SavedInterrupt,
    TrainingError,
    UsageError,
)
from circuitkit.training import load_config, run_folder, run_state, train, trainer
from circuitkit.training.initialisation import initial_model
from circuitkit.training.objective import next_token_loss, validation_loss
from circuitkit.training.shards import build_tokenizer
from circuitkit.training.weight_sparsity import l0_fraction


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return load_config(tiny_config(tmp_path_factory.mktemp("config")))


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(config, folder)
    return folder


# Runs


def test_a_run_gives_a_checkpoint(config, straight):
    """It loads, has a tokenizer, a reference sample and a record, and is as sparse as asked."""
    checkpoint = load_checkpoint(straight)
    assert (checkpoint.name, checkpoint.start_token) == ("tiny", 0)
    assert checkpoint.load_reference().shape == (20, 16)
    model = checkpoint.load_model()
    weight = model.transformer.h[0].mlp.c_proj.weight
    assert int(weight.count_nonzero()) == max(round(0.125 * weight.numel()), 4 * 32)
    wte = model.transformer.wte.weight
    assert int(wte.count_nonzero()) == round(0.125 * wte.numel())
    record = checkpoint.training
    assert record["l0_fraction"] == pytest.approx(l0_fraction(model))
    assert record["l0"]["transformer.wte.weight"] == int(wte.count_nonzero())
    assert record["n_tokens"] == 384
    held = (straight / "shards" / "validation.bin").stat().st_size // 2
    assert (record["n_corpus_tokens"], record["n_validation_tokens"]) == (2000, held)
    assert held < config.corpus.n_validation_tokens  # the text ended before that
    assert record["config"] == json.loads(config.model_dump_json())
    tokens = np.fromfile(straight / "shards" / "validation.bin", dtype=np.uint16)
    assert record["validation_loss_nats"] == pytest.approx(validation_loss(model, tokens), abs=1e-6)


def test_the_metrics_follow_the_schedule(config, straight):
    """A line every two steps and at the end, each with its loss, L0 and learning rate."""
    rows = [json.loads(line) for line in (straight / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert [row["n_tokens"] for row in rows] == [128, 256, 384]
    asked = [row["l0_fraction_asked"] for row in rows]
    assert asked == pytest.approx([1 - 0.875 * 2 / 3, 0.125, 0.125])
    assert all(math.isfinite(row["validation_loss_nats"]) for row in rows)


def test_the_metrics_tell_the_sparsity_that_is(config, tmp_path):
    """Not the one asked for, of which ``min_nonzeros`` keeps more; what is reported, too."""
    sparser = config.sparsity.model_copy(update={"l0_fraction": 0.002, "min_nonzeros": 8})
    seen = []
    run = train(
        config.model_copy(update={"sparsity": sparser}), tmp_path / "run", report=seen.append
    )
    real = l0_fraction(run.load_model())
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert real > 0.1
    assert (row["l0_fraction"], row["l0_fraction_asked"]) == (real, pytest.approx(0.002))
    assert run.training["l0_fraction"] == seen[-1].l0_fraction == real


def test_the_same_seed_gives_the_same_bytes(config, straight, tmp_path):
    """And another seed others."""
    train(config, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(straight)
    train(config.model_copy(update={"seed": 4}), tmp_path / "other")
    weights = [folder / "model.safetensors" for folder in (tmp_path / "other", straight)]
    assert weights[0].read_bytes() != weights[1].read_bytes()


def test_a_run_stops_at_the_loss_that_was_asked_for(config, straight, tmp_path):
    """At the first validation no higher than it, to the bytes so far; resumed, it stays there."""
    rows = (straight / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(row)["validation_loss_nats"] for row in rows]
    assert losses[1] < losses[0]
    early = {"stop_at_loss_nats": losses[1]}
    early = config.model_copy(update={"run": config.run.model_copy(update=early)})
    with pytest.raises(Stopped):
        train(early, tmp_path / "run", report=stopping_after(4))
    record = train(early, tmp_path / "run", resume=True).training
    assert (tmp_path / "run" / "metrics.jsonl").read_text().splitlines() == rows[:2]
    assert (record["n_tokens"], record["validation_loss_nats"]) == (256, losses[1])
    with pytest.raises(Stopped):
        train(config, tmp_path / "other", report=stopping_after(4))
    stopped, under_way = (
        load_file(tmp_path / name / "state.safetensors") for name in ("run", "other")
    )
    assert all(torch.equal(stopped[key], under_way[key]) for key in under_way)


def test_a_loss_that_is_never_reached_stops_nothing(config, straight, tmp_path):
    """The run is that of its tokens."""
    run = config.run.model_copy(update={"stop_at_loss_nats": 1e-3})
    train(config.model_copy(update={"run": run}), tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (
        straight / "metrics.jsonl"
    ).read_bytes()


def test_a_dense_run_keeps_every_weight(config, tmp_path):
    """With l0_fraction 1 nothing is projected: hardly a weight is exactly zero."""
    dense = config.model_copy(
        update={"sparsity": config.sparsity.model_copy(update={"l0_fraction": 1.0})}
    )
    assert train(dense, tmp_path / "dense").training["l0_fraction"] > 0.99


# Matrix products


def with_run(config, **changes):
    return config.model_copy(update={"run": config.run.model_copy(update=changes)})


def test_matrices_may_be_multiplied_in_bfloat16(config, straight, tmp_path):
    """Close to a float32 run, yet not it; weights and validation loss are float32."""
    run = train(with_run(config, matmul="bfloat16"), tmp_path / "run")
    model, exact = run.load_model(), load_checkpoint(straight)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not torch.equal(model.lm_head.weight, exact.load_model().lm_head.weight)
    loss, expected = (c.training["validation_loss_nats"] for c in (run, exact))
    assert loss == pytest.approx(expected, abs=0.02)
    tokens = np.fromfile(straight / "shards" / "validation.bin", dtype=np.uint16)
    assert loss == pytest.approx(validation_loss(model, tokens), abs=1e-6)


@pytest.mark.parametrize(("faster", "chosen"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_settled_once_and_kept(config, tmp_path, monkeypatch, faster, chosen):
    """When the run begins; whoever resumes it multiplies alike, and the record says how."""
    asked = []
    monkeypatch.setattr(
        run_folder, "faster_in_bfloat16", lambda device: asked.append(device) or faster
    )
    auto = with_run(config, matmul="auto")
    with pytest.raises(Stopped):
        train(auto, tmp_path / "run", report=stopping_after(3))
    resumed = train(auto, tmp_path / "run", resume=True)
    assert asked == ["cpu"]
    assert resumed.training["config"]["run"]["matmul"] == chosen
    train(with_run(config, matmul=chosen), tmp_path / "straight")
    assert contents(tmp_path / "run") == contents(tmp_path / "straight")


@pytest.mark.parametrize("text", ["", "[]", '{"run": {"matmul": 3}}'])
def test_a_damaged_run_file_is_another_configuration(config, tmp_path, text):
    """Its matmul is not guessed at."""
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"run\.json is another configuration than the one given"):
        train(with_run(config, matmul="auto"), tmp_path, resume=True)


# What stops a run


def test_a_finished_run_resumes_to_its_checkpoint(config, straight):
    """Nothing is trained and nothing written."""
    before = {path.name: path.stat().st_mtime_ns for path in straight.iterdir()}
    seen = []
    assert train(config, straight, resume=True, report=seen.append).sha256
    assert seen == []
    assert {path.name: path.stat().st_mtime_ns for path in straight.iterdir()} == before


def test_a_run_is_not_begun_over_another(config, straight):
    """Without --resume the folder is in the way."""
    with pytest.raises(UsageError, match=r"holds a training run already; add --resume to go on"):
        train(config, straight)


def test_a_run_goes_on_under_its_own_configuration_only(config, straight, tmp_path):
    """So shards and state of another configuration are never read."""
    other = config.model_copy(update={"seed": 9})
    with pytest.raises(UsageError, match=r"run\.json is another configuration than the one given"):
        train(other, straight, resume=True)
    (tmp_path / "shards").mkdir()
    with pytest.raises(UsageError, match=r"holds something else \(shards\); .*a run\.json"):
        train(config, tmp_path, resume=True)


@pytest.mark.parametrize(("step", "last"), [(1, "none"), (5, r"state\.safetensors, after step 4")])
def test_a_loss_that_is_not_finite_stops_and_names_the_last_save(
    config, tmp_path, monkeypatch, step, last
):
    """Before the step is taken, so the save is good."""
    count = iter(range(1, 99))

    def spoiled(model, rows):
        loss = next_token_loss(model, rows)
        return loss * math.nan if next(count) == step else loss

    monkeypatch.setattr(trainer, "next_token_loss", spoiled)
    message = rf"the loss is nan at step {step - 1}; the last good save is .*{last}\. Lower"
    with pytest.raises(TrainingError, match=message):
        train(config, tmp_path / "run")


def test_a_gradient_that_is_not_finite_stops_before_the_step(config, tmp_path, monkeypatch):
    """Though the loss still is: else the next save would hold the damage."""

    def spoiled(model, rows):
        return next_token_loss(model, rows) + (model.lm_head.weight * 0).sum().sqrt()

    monkeypatch.setattr(trainer, "next_token_loss", spoiled)
    with pytest.raises(TrainingError, match=r"the gradient's RMS is nan at step 0; .*none\. Lower"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "state.safetensors").exists()


def test_a_validation_loss_that_is_not_finite_stops_before_it_is_written(
    config, tmp_path, monkeypatch
):
    """The metrics and the save are those of the step before."""
    losses = iter([1.0, math.nan])
    monkeypatch.setattr(trainer, "validation_loss", lambda *_: next(losses))
    message = r"the validation loss is nan at step 4; the last good save is .*after step 2\."
    with pytest.raises(TrainingError, match=message):
        train(config, tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 1


def test_a_full_disk_before_the_first_step_says_what_was_not_written(config, tmp_path, monkeypatch):
    """While tokens are laid down; no half shard is left, and the run can be resumed."""
    replace = Path.replace

    def full(self, target):
        if target.suffix == ".bin":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        with pytest.raises(
            TrainingError, match=r"could not write .*train\.bin: No space left .*--res"
        ):
            train(config, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.part"))
    train(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize("target", ["write_whole", "append"])
def test_a_full_disk_stops_and_names_the_last_save(config, tmp_path, monkeypatch, target):
    """While saving the state, or while adding to the metrics."""

    written = iter(range(9))

    def full(path, data):
        if path.name == "state.safetensors" and next(written) == 1:
            raise UsageError(f"cannot write to {path}: no space.")
        whole(path, data)

    def full_open(path, mode="r", **options):
        if path.name == "metrics.jsonl" and mode == "a" and next(written) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, mode, **options)

    whole, opened = run_state.write_whole, Path.open
    if target == "write_whole":
        monkeypatch.setattr(run_state, "write_whole", full)
    else:
        monkeypatch.setattr(Path, "open", full_open)
    with pytest.raises(
        TrainingError, match=r"could not save at step 4: .*save is .*after step 2\."
    ):
        train(config, tmp_path / "run")


def test_a_corrupt_state_is_refused(config, straight, tmp_path):
    """Not a whole file, of another run, or with no word of its step."""
    model = initial_model(config)
    optimizer = torch.optim.AdamW(model.parameters())
    data = (straight / "state.safetensors").read_bytes()
    (tmp_path / "state.safetensors").write_bytes(data)
    with pytest.raises(TrainingError, match="was saved under another configuration"):
        run_state.load_state(tmp_path, model, optimizer, "0" * 64)
    for spoiled in (data[: len(data) // 2], b"", b"\x08" + b"\0" * 7 + b"{}      "):
        (tmp_path / "state.safetensors").write_bytes(spoiled)
        with pytest.raises(TrainingError, match=r"is not a training state|another configuration"):
            run_state.load_state(tmp_path, model, optimizer, "0" * 64)


FC = "transformer.h.0.mlp.c_fc.weight"


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda t: t[f"model/{FC}"].fill_(math.nan), rf"damaged: model/{FC} is not \(32, 16\) fin"),
        (lambda t: t.update({f"model/{FC}": torch.ones(1)}), r"of float32, got float32 \(1,\)\."),
        (lambda t: t.update({f"exp_avg/{FC}": torch.ones(32, 16).int()}), r"got int32 \(32, 16\)"),
        (lambda t: t.pop(f"exp_avg_sq/{FC}"), rf"it lacks exp_avg_sq/{FC}\. Choose another --out"),
        (lambda t: t.update({"model/x": torch.ones(1)}), r"of this model: it holds model/x\."),
    ],
)
def test_a_state_with_other_tensors_than_were_saved_is_refused(
    config, straight, tmp_path, edit, match
):
    """Copying would cast and repeat them, and a missing moment begin at zero again."""
    with safe_open(straight / "state.safetensors", framework="pt") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    edit(tensors)
    save_file(tensors, tmp_path / "state.safetensors", about)
    model = initial_model(config)
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(TrainingError, match=match):
        run_state.load_state(tmp_path, model, optimizer, run_folder.config_sha256(config))


def test_a_device_that_is_not_there_is_refused(config, tmp_path):
    """Before anything is written."""
    lost = config.model_copy(update={"run": config.run.model_copy(update={"device": "gpu"})})
    with pytest.raises(ConfigError, match=r"run\.device = 'gpu' cannot be used .*; expected cpu"):
        train(lost, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_without_its_weights_is_no_checkpoint(straight, tmp_path):
    """Resuming a finished run whose folder was damaged says so."""
    for name in ("config.json", "run.json"):
        (tmp_path / name).write_bytes((straight / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        load_checkpoint(tmp_path)


# What another command or the corpus may do to a run


def test_another_checkpoint_is_not_written_over_a_run_nor_taken_for_its_result(
    config, straight, tmp_path
):
    """``convert`` refuses the folder; ``train --resume`` refuses what else came to lie there."""
    folder = tmp_path / "run"
    copytree(straight, folder)
    before = contents(folder)
    with pytest.raises(UsageError, match="holds a training run, which is not replaced"):
        convert_checkpoint("tinypython-nano", folder)
    assert contents(folder) == before
    assert train(config, folder, resume=True).sha256 == load_checkpoint(straight).sha256
    nano = load_checkpoint("tinypython-nano")
    save_checkpoint(folder, nano.load_model(), name="nano", training=nano.training)
    with pytest.raises(UsageError, match="is not the result of the run there"):
        train(config, folder, resume=True)


def test_a_run_that_lies_in_its_own_corpus_is_refused(tmp_path):
    """It would learn from its own record; nothing is written."""
    path = tiny_config(tmp_path)
    config = load_config(path)
    for source in (f"folder:{tmp_path}", f"0.5*tinypython + 0.5*folder:{tmp_path}"):
        corpus = config.corpus.model_copy(update={"source": source})
        with pytest.raises(UsageError, match=r"lies in .*, which corpus\.source reads"):
            train(config.model_copy(update={"corpus": corpus}), tmp_path / "out" / "run")
        assert not (tmp_path / "out").exists()
    inside = config.model_copy(
        update={"corpus": config.corpus.model_copy(update={"source": f"folder:{tmp_path}"})}
    )
    begun = tmp_path / "begun"  # as before it was refused
    begun.mkdir()
    (begun / "run.json").write_text(inside.model_dump_json(indent=1) + "\n")
    run_folder.claim(inside, begun, resume=True)
    with pytest.raises(UsageError, match="add --resume"):
        run_folder.claim(inside, begun, resume=False)


def test_the_name_of_the_start_token_is_text_to_learn_from(config, tmp_path):
    """As it is for the checkpoint's tokenizer, and for a reference: the token is put, not read."""
    tokenizer = build_tokenizer(tmp_path / "tokenizer.json", config)
    ids = tokenizer.encode(f"x {START} y", add_special_tokens=False).ids
    assert tokenizer.token_to_id(START) not in ids
    assert tokenizer.decode(ids) == f"x {START} y"


def test_an_interrupt_is_told_as_saved_only_where_it_saved(config, tmp_path):
    """Ctrl-C between two steps saves; before the first there is nothing to save."""

    def interrupting(stage):
        def report(progress):
            if progress.stage == stage:
                signal.raise_signal(signal.SIGINT)

        return report

    with pytest.raises(KeyboardInterrupt) as early:
        train(config, tmp_path / "a", report=interrupting("tokens"))
    assert early.type is KeyboardInterrupt
    with pytest.raises(SavedInterrupt):
        train(config, tmp_path / "b", report=interrupting("steps"))
    assert run_state.last_save(tmp_path / "b") != run_state.last_save(tmp_path / "a")
