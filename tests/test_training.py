"""Laws of the trainer: configurations are strict, runs resume to the same bytes."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from circuitkit.checkpoints import load_checkpoint
from circuitkit.errors import CheckpointError, ConfigError, CorpusError, TrainingError, UsageError
from circuitkit.training import load_config, shipped_configs, state, train, trainer
from circuitkit.training.initial import initial_model
from circuitkit.training.objective import limit_rms, next_token_loss, validation_loss
from circuitkit.training.shards import batch_windows, build_shard
from circuitkit.training.sparsity import l0_fraction, sparse_parameters

CONFIG = """
format = "circuitkit.training/1"
name = "tiny"
seed = 3

[corpus]
source = "folder:{text}"
n_tokens = 2000
vocab_size = 280
n_validation_tokens = 200
n_reference_tokens = 320

[architecture]
n_ctx = 16
n_layer = 2
d_model = 16
n_head = 2
d_head = 8
d_mlp = 32
attention_sink = true
bigram_table = true
activation_topk = {{ "mlp.post_act" = 0.25, "attn.q" = 0.5 }}

[sparsity]
l0_fraction = 0.125

[optimizer]
lr = 0.01
eps = 1e-6

[run]
n_tokens = 384
batch_sequences = 4
validate_every = 2
save_every = 2
"""
N_STEPS = 6


@pytest.fixture(scope="module")
def config_path(tmp_path_factory):
    """A configuration of six steps, and a folder of text to read."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "text").mkdir()
    for i in range(20):
        lines = [f"value_{j} = [{i}, {j}, 'x{i * j % 7}']\n" for j in range(12)]
        (folder / "text" / f"{i:02}.py").write_text("".join(lines))
    (folder / "tiny.toml").write_text(CONFIG.format(text=folder / "text"))
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def config(config_path):
    return load_config(config_path)


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(config, folder)
    return folder


class Stopped(Exception):  # noqa: N818 - a power cut, not an error
    pass


def stopping_after(step, error=Stopped):
    def report(progress):
        if progress.stage == "steps" and progress.done == step:
            raise error

    return report


def same_bytes(a: Path, b: Path):
    names = ("model.safetensors", "metrics.jsonl", "config.json", "tokenizer.json", "run.json")
    return all(
        (a / n).read_bytes() == (b / n).read_bytes() for n in (*names, "reference.safetensors")
    )


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
    assert record["config"] == json.loads(config.model_dump_json())
    tokens = np.fromfile(straight / "shards" / "validation.bin", dtype=np.uint16)
    assert record["validation_loss_nats"] == pytest.approx(validation_loss(model, tokens), abs=1e-6)


def test_the_metrics_follow_the_schedule(config, straight):
    """A line every two steps and at the end, each with its loss, L0 and learning rate."""
    rows = [json.loads(line) for line in (straight / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert [row["n_tokens"] for row in rows] == [128, 256, 384]
    assert [row["l0_fraction"] for row in rows] == pytest.approx([1 - 0.875 * 2 / 3, 0.125, 0.125])
    assert all(math.isfinite(row["validation_loss_nats"]) for row in rows)


def test_the_same_seed_gives_the_same_bytes(config, straight, tmp_path):
    """And another seed others."""
    train(config, tmp_path / "again")
    assert same_bytes(tmp_path / "again", straight)
    train(config.model_copy(update={"seed": 4}), tmp_path / "other")
    weights = [folder / "model.safetensors" for folder in (tmp_path / "other", straight)]
    assert weights[0].read_bytes() != weights[1].read_bytes()


def test_a_dense_run_keeps_every_weight(config, tmp_path):
    """With l0_fraction 1 nothing is projected: hardly a weight is exactly zero."""
    dense = config.model_copy(
        update={"sparsity": config.sparsity.model_copy(update={"l0_fraction": 1.0})}
    )
    assert train(dense, tmp_path / "dense").training["l0_fraction"] > 0.99


@pytest.mark.parametrize("step", range(1, N_STEPS + 1))
def test_a_run_stopped_anywhere_resumes_to_the_same_bytes(config, straight, tmp_path, step):
    """Weights, metrics and all, whether the last save was at this step or before."""
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", report=stopping_after(step))
    resumed = train(config, tmp_path / "run", resume=True)
    assert same_bytes(tmp_path / "run", straight)
    assert resumed.training["resumed_at_step"] == step - step % 2
    assert resumed.training["validation_loss_nats"] == pytest.approx(
        load_checkpoint(straight).training["validation_loss_nats"], abs=0
    )


def test_half_a_line_of_metrics_is_forgotten(config, straight, tmp_path):
    """A line that was being written when the run was killed is dropped, and written again."""
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", report=stopping_after(3))
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "n_to')
    train(config, tmp_path / "run", resume=True)
    assert same_bytes(tmp_path / "run", straight)


KILLED = """
import os, signal, sys
import torch
from circuitkit.training import load_config, train
torch.set_num_threads(1)
def report(progress):
    if progress.stage == "steps" and progress.done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
train(load_config(sys.argv[1]), sys.argv[2], report=report)
"""


def test_a_killed_process_resumes_to_the_same_bytes(config_path, config, straight, tmp_path):
    """``kill -9`` leaves nothing half done that matters."""
    command = [sys.executable, "-c", KILLED, str(config_path), str(tmp_path / "run")]
    done = subprocess.run(command, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    train(config, tmp_path / "run", resume=True)
    assert same_bytes(tmp_path / "run", straight)


# Ctrl-C


def pressing_ctrl_c_after(step, seen):
    def report(progress):
        seen.append(progress.done)
        if progress.stage == "steps" and progress.done == step:
            signal.raise_signal(signal.SIGINT)

    return report


def test_ctrl_c_finishes_the_step_saves_and_stops(config, straight, tmp_path):
    """After step 3, though saves fall on even steps: resuming ends with the same bytes."""
    seen = []
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", report=pressing_ctrl_c_after(3, seen))
    assert seen[-1] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert "after step 3" in state.last_save(tmp_path / "run")
    assert train(config, tmp_path / "run", resume=True).training["resumed_at_step"] == 3
    assert same_bytes(tmp_path / "run", straight)


def test_ctrl_c_twice_stops_at_once(config, tmp_path):
    """The second is not deferred: the run stops inside its report."""

    def report(progress):
        if progress.stage == "steps":
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", report=report)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_outside_the_main_thread_trains_as_well(config, straight, tmp_path):
    """Signals cannot be deferred there, and need not be."""
    thread = threading.Thread(target=train, args=(config, tmp_path / "run"))
    thread.start()
    thread.join()
    assert same_bytes(tmp_path / "run", straight)


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

    whole, opened = state.write_whole, Path.open
    if target == "write_whole":
        monkeypatch.setattr(state, "write_whole", full)
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
        state.load_state(tmp_path, model, optimizer, "0" * 64)
    for spoiled in (data[: len(data) // 2], b"", b"\x08" + b"\0" * 7 + b"{}      "):
        (tmp_path / "state.safetensors").write_bytes(spoiled)
        with pytest.raises(TrainingError, match=r"is not a training state|another configuration"):
            state.load_state(tmp_path, model, optimizer, "0" * 64)


def test_a_device_that_is_not_there_is_refused(config, tmp_path):
    """Before anything is written."""
    lost = config.model_copy(update={"run": config.run.model_copy(update={"device": "gpu"})})
    with pytest.raises(ConfigError, match=r"run\.device = 'gpu' cannot be used .*; expected cpu"):
        train(lost, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("n_tokens", "split"), [(10**6, "training"), (1, "validation")])
def test_a_corpus_that_is_too_short_is_refused(config, tmp_path, n_tokens, split):
    """When validation takes it all, or is less than a sequence: what to add or lower."""
    corpus = config.corpus.model_copy(update={"n_validation_tokens": n_tokens})
    short = config.model_copy(update={"corpus": corpus})
    with pytest.raises(CorpusError, match=rf"gives \d+ tokens of {split} text; .* needs 17\. Add"):
        train(short, tmp_path / "run")


# Shards and batches


def test_training_text_leaves_out_the_validation_text(config, straight, tmp_path):
    """Of a folder, validation is the first tokens and training what follows, without a gap."""
    tokenizer = load_checkpoint(straight).tokenizer
    held = np.fromfile(straight / "shards" / "validation.bin", dtype=np.uint16)
    seen = np.fromfile(straight / "shards" / "train.bin", dtype=np.uint16)
    assert (len(held), len(seen)) == (200, 2000)
    text = Path(config.corpus.source.removeprefix("folder:"))
    encoded = [tokenizer.encode(path.read_text()).ids for path in sorted(text.iterdir())]
    tokens = [token for ids in encoded for token in (0, *ids)]
    assert [*held, *seen] == tokens[:2200]
    longer = config.corpus.model_copy(update={"n_tokens": 10**6})
    rest = build_shard(
        tmp_path / "rest.bin",
        config.model_copy(update={"corpus": longer}),
        tokenizer,
        validation=False,
    )
    assert list(rest) == tokens[200:]


def test_an_epoch_reads_every_window_once():
    """In an order of its own; batches may run over its end."""
    starts = np.concatenate([batch_windows(161, 16, 4, step, seed=5) for step in range(5)])
    first, second = starts[:10], starts[10:]
    assert sorted(first) == sorted(second) == [16 * i for i in range(10)]
    assert list(first) != list(second)
    assert list(batch_windows(161, 16, 25, 0, seed=5)[:20]) == list(starts)


def test_the_loss_is_the_mean_over_every_next_token(config):
    """Of each row but its first token; over a shard, whatever the batches."""
    model = initial_model(config)
    tokens = np.arange(16 * 70 + 5, dtype=np.uint16) % 280
    rows = torch.from_numpy(tokens[: 16 * 70 + 1].astype(np.int64))
    windows = torch.stack([rows[16 * i : 16 * i + 17] for i in range(70)])
    logits = model(windows[:, :-1])
    expected = cross_entropy(logits.reshape(-1, 280), windows[:, 1:].reshape(-1)).item()
    assert next_token_loss(model, windows).item() == pytest.approx(expected)
    assert validation_loss(model, tokens) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("most", "expected"), [(1e-3, 1e-3), (1e3, 0.5)])
def test_gradients_are_scaled_down_to_the_rms_and_never_up(config, most, expected):
    """All together, by one factor."""
    model = initial_model(config)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, -0.5)
    limit_rms(model, most)
    gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert gradients.square().mean().sqrt().item() == pytest.approx(expected, rel=1e-5)
    assert gradients.unique().numel() == 1


def test_the_first_model_is_a_function_of_the_seed(config):
    """Whatever the global random state; biases start at zero, norms at one."""
    first = initial_model(config).state_dict()
    torch.manual_seed(123)
    second = initial_model(config)
    assert all(torch.equal(first[name], value) for name, value in second.state_dict().items())
    vectors = [p for _, p in sparse_parameters(second) if p.ndim == 1]
    assert not any(vector.any() for vector in vectors)
    assert (first["transformer.ln_f.weight"] == 1).all()


# Configurations


def test_every_shipped_configuration_loads():
    """By its name, which is also its file's."""
    assert "tinypython-nano" in shipped_configs()
    for name in shipped_configs():
        assert load_config(name).name == name


def test_overrides_reach_any_key(config_path):
    """Numbers, booleans, lists and text; the last one wins."""
    changed = load_config(
        config_path,
        [
            *("optimizer.lr=0.5", "optimizer.lr=0.25", "optimizer.sharkfin=false"),
            *("optimizer.betas=[0.5, 0.75]", "run.device=cuda", 'name="other"', "seed=8"),
            *("architecture.n_ctx=8", 'architecture.activation_topk."attn.q"=0.25'),
        ][:8],
    )
    assert (changed.optimizer.lr, changed.optimizer.sharkfin) == (0.25, False)
    assert (changed.optimizer.betas, changed.run.device) == ((0.5, 0.75), "cuda")
    assert (changed.name, changed.seed, changed.architecture.n_ctx) == ("other", 8, 8)
    assert changed.tokens_per_step == 32
    assert changed.n_steps == 12


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("optimizer.lrr=0.1", r"optimizer\.lrr: Extra inputs .*got 0\.1\. Did you mean lr\?"),
        ("optimiser.lr=0.1", r"optimiser: Extra inputs .*\. Did you mean optimizer\?"),
        ("architecture.n_layers=2", r"architecture\.n_layers: .*\. Did you mean n_layer\?"),
        ("run.zzzz=1", r"run\.zzzz: .*\. Known: n_tokens, batch_sequences"),
        ("optimizer.lr=high", r"optimizer\.lr: Input should be a valid number; got 'high'"),
        ("optimizer.lr=-1", r"optimizer\.lr: .*greater than 0; got -1"),
        ("optimizer.betas=[0.9, 1.0]", r"optimizer\.betas\.1: .*less than 1; got 1\.0"),
        ("run.n_tokens=0", r"run\.n_tokens: .*; got 0"),
        ("run.n_tokens=1.5", r"run\.n_tokens: .*integer.*; got 1\.5"),
        ("sparsity.l0_fraction=0", r"sparsity\.l0_fraction: .*greater than 0"),
        ("corpus=3", r"corpus: Input should be .*; got 3"),
        ("architecture=3", r"architecture: Input should be .*; got 3"),
        ("corpus.vocab_size=65537", r"corpus\.vocab_size: .*; got 65537"),
        (
            "architecture.vocab_size=279",
            r"architecture\.vocab_size is 279, but corpus\.vocab_size is",
        ),
        ("name=../x", r"name: .*match pattern.*; got '\.\./x'"),
        ("optimizer.lr", r"--set 'optimizer\.lr': expected key=value, such as optimizer\.lr=0\.01"),
        ("=3", r"--set '=3': expected key=value"),
        ("seed.x=3", r"--set 'seed\.x=3': seed is a value, not a section"),
    ],
)
def test_wrong_overrides_are_refused(config_path, override, match):
    """With the key, the value got and the nearest right key."""
    with pytest.raises(ConfigError, match=match):
        load_config(config_path, [override])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"bad\.toml: format: Field required"),
        ("a = [\n= 1", r"bad\.toml is not TOML: .*line 2.*Fix the line it names"),
        ("\xff", r"bad\.toml is not TOML: .*utf-8"),
        ('format = "circuitkit.training/2"', r"bad\.toml: format: .*'circuitkit\.training/1'"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text, match):
    """Where it is wrong is in the message."""
    (tmp_path / "bad.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=match):
        load_config(tmp_path / "bad.toml")


def test_a_missing_configuration_is_refused(tmp_path):
    """With what was expected."""
    with pytest.raises(ConfigError, match=r"no such file: .*x\.toml; expected a training config"):
        load_config(tmp_path / "x.toml")


def test_a_run_without_its_weights_is_no_checkpoint(straight, tmp_path):
    """Resuming a finished run whose folder was damaged says so."""
    for name in ("config.json", "run.json"):
        (tmp_path / name).write_bytes((straight / name).read_bytes())
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors"):
        load_checkpoint(tmp_path)
