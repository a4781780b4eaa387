"""Laws of several devices: two processes are one, and no process outlives its run."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_run import contents, tiny_config

from circuitkit.checkpoints import load_checkpoint
from circuitkit.errors import ConfigError, TrainingError
from circuitkit.training import load_config, train
from circuitkit.training.devices import Devices, devices_of, first_process

TOLERANCE = 1e-5
"""For losses in nats and for weights: two halves of a batch are added in another order."""

STEPS = ("run.n_tokens=6400", "run.validate_every=10", "run.save_every=10")

INTERRUPTED = """
import signal, sys
from circuitkit.training import load_config, train

def press(progress):
    if progress.stage == "steps" and progress.done == 13:
        signal.raise_signal(signal.SIGINT)

config = load_config(sys.argv[1], sys.argv[3:])
try:
    train(config, sys.argv[2], report=press)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(scope="module")
def config_path(tmp_path_factory):
    return tiny_config(tmp_path_factory.mktemp("config"))


def run_program(*arguments):
    """A program of its own, with one thread; it and all it starts must end in time."""
    clean = {key: value for key, value in os.environ.items() if key not in STARTED}
    environment = {**clean, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env=environment
    )


STARTED = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def settings(*overrides):
    return [word for override in overrides for word in ("--set", override)]


@pytest.fixture(scope="module")
def two(config_path, tmp_path_factory):
    """What the command line made of a hundred steps on two processes."""
    folder = tmp_path_factory.mktemp("two") / "run"
    overrides = settings(*STEPS, "run.devices=2")
    command = ["-m", "circuitkit", "train", config_path, "--out", folder, "--json", *overrides]
    done = run_program(*command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_tokens"] == 6400  # said once
    return folder


@pytest.mark.slow
def test_two_processes_learn_as_one(config_path, two, tmp_path):
    """The same loss curve and weights within the tolerance; the same L0 of every matrix."""
    one = train(load_config(config_path, STEPS), tmp_path / "one")
    other = load_checkpoint(two)
    assert other.training["l0"] == one.training["l0"]
    curves = [curve(folder) for folder in (tmp_path / "one", two)]
    np.testing.assert_allclose(*curves, atol=TOLERANCE, rtol=0)
    weights = [checkpoint.load_model().state_dict() for checkpoint in (one, other)]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, atol=TOLERANCE, rtol=0)


def curve(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    return [[row["loss_nats"], row["validation_loss_nats"]] for row in rows]


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_bytes(config_path, two, tmp_path):
    """Ctrl-C reaches one process and stops both; torchrun may start those that go on."""
    script, folder = tmp_path / "script.py", tmp_path / "run"
    script.write_text(INTERRUPTED)
    done = run_program(script, config_path, folder, *STEPS, "run.devices=2")
    assert done.returncode == 130, done.stderr
    command = ["-m", "circuitkit", "train", config_path, "--out", folder, "--resume"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = run_program(*torchrun, *command, *settings(*STEPS, "run.devices=2"))
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(folder).training["resumed_at_step"] == 13
    assert contents(folder) == contents(two)


@pytest.mark.slow
def test_what_stops_a_run_is_told_once(config_path, tmp_path):
    """A loss that is not finite on two processes: one message, and both have ended."""
    overrides = settings("run.devices=2", "optimizer.lr=1e38")
    command = ["-m", "circuitkit", "train", config_path, "--out", tmp_path / "run", "--quiet"]
    done = run_program(*command, *overrides)
    assert done.returncode == 2
    assert done.stderr.count("circuitkit: ") == 1
    assert "last good save is none" in done.stderr
    assert "Traceback" not in done.stderr


# In one process


def test_the_rows_of_a_batch_are_shared_out():
    """Each process has as many, each row has one process, in order."""
    cpu = torch.device("cpu")
    shares = [list(range(12))[Devices(device=cpu, n=4, rank=rank).rows(12)] for rank in range(4)]
    assert shares == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert list(range(5))[Devices(device=cpu).rows(5)] == list(range(5))


def test_one_device_needs_no_lightning(config_path, monkeypatch):
    """It is not imported; nothing is averaged and nobody asked."""
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    alone = devices_of(load_config(config_path).run)
    assert (alone.first, alone.fabric) == (True, None)
    assert [alone.agree(asked) for asked in (True, False)] == [True, False]


class Pretend:
    """Two processes, of which the other one always holds zeros."""

    def all_reduce(self, x, reduce_op):
        assert reduce_op == "mean"
        return x / 2


def test_gradients_and_losses_are_means():
    """In place, each in its own shape; a parameter without a gradient is passed over."""
    model = torch.nn.Linear(3, 2).requires_grad_()
    model.frozen = torch.nn.Parameter(torch.ones(4))
    model.weight.grad = torch.arange(6.0).view(2, 3)
    model.bias.grad = torch.tensor([8.0, -8.0])
    half = Devices(device=torch.device("cpu"), n=2, fabric=Pretend())
    assert half.average(model, torch.tensor(3.0)) == 1.5
    assert torch.equal(model.weight.grad, torch.arange(6.0).view(2, 3) / 2)
    assert torch.equal(model.bias.grad, torch.tensor([4.0, -4.0]))
    assert half.agree(True)
    assert not half.agree(False)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(config_path):
    """Four sequences on three devices."""
    message = r"run: .*batch_sequences is 4, which 3 devices cannot share evenly; make it a mult"
    with pytest.raises(ConfigError, match=message):
        load_config(config_path, ["run.devices=3"])


def test_several_devices_without_lightning_are_refused(config_path, tmp_path, monkeypatch):
    """With the extra to install, before anything is written."""
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    message = r"run\.devices = 2 needs lightning-fabric, .*pip install 'sparse-circuitkit\[train\]'"
    with pytest.raises(ConfigError, match=message):
        train(load_config(config_path, ["run.devices=2"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_device_that_cannot_be_several_is_refused(config_path, tmp_path):
    """One device by its number is not two."""
    config = load_config(config_path, ["run.devices=2", "run.device=cpu:0"])
    with pytest.raises(ConfigError, match=r"run\.devices = 2 of run\.device = 'cpu:0' cannot be"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_number_of_processes_is_refused(config_path, tmp_path, monkeypatch):
    """What torchrun started, and the configuration does not know of."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert first_process()  # the variable alone is not torchrun's
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert not first_process()
    message = r"run\.devices = 1, but 4 processes were started \(WORLD_SIZE\).*run\.devices=4"
    with pytest.raises(ConfigError, match=message):
        train(load_config(config_path), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_process_whose_fellow_has_gone_says_so():
    """And what to do."""

    class Gone:
        def all_reduce(self, x, reduce_op):
            raise RuntimeError("Connection closed by peer")

    left = Devices(device=torch.device("cpu"), n=2, fabric=Gone())
    message = r"process 0 of 2 has lost another \(Connection closed by peer\)\. .*--resume"
    with pytest.raises(TrainingError, match=message):
        left.agree(False)
