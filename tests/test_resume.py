"""Laws of resuming: whatever stopped a run, it ends with the bytes of one that nothing stopped."""

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tiny_run import N_STEPS, Stopped, contents, stopping_after, tiny_config

from circuitkit.checkpoints import load_checkpoint
from circuitkit.training import load_config, run_state, train


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return load_config(tiny_config(tmp_path_factory.mktemp("config")))


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    train(config, folder)
    return folder


@pytest.mark.parametrize("step", range(1, N_STEPS + 1))
def test_a_run_stopped_anywhere_resumes_to_the_same_bytes(config, straight, tmp_path, step):
    """Weights, metrics and all, whether the last save was at this step or before."""
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", report=stopping_after(step))
    resumed = train(config, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(straight)
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
    assert contents(tmp_path / "run") == contents(straight)


# kill -9

N_KILLED = 8


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder that ``killed_run.py`` leaves, with the configuration of its runs."""
    folder = tmp_path_factory.mktemp("killed")
    path = tiny_config(folder)
    program = Path(__file__).with_name("killed_run.py")
    command = [sys.executable, program, path, folder, "0", str(N_KILLED)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "where").write_text(done.stdout)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("run", [*map(str, range(N_KILLED)), "again"])
def test_a_killed_run_resumes_to_the_same_bytes(killed, run):
    """``kill -9`` at any moment, once or over and over: every file, and no half-written one."""
    train(load_config(killed / "tiny.toml"), killed / run, resume=True)
    assert contents(killed / run) == contents(killed / "straight")


@pytest.mark.slow
def test_the_kills_came_where_they_hurt(killed):
    """While a shard was written, with half a state or half the weights on disk, and in steps."""
    where = (killed / "where").read_text()
    assert len(where.splitlines()) == 2 * N_KILLED
    for what in ("report of tokens", "half of .state", "half of .model", "report of steps"):
        assert what in where, where


def test_what_a_killed_run_left_half_written_is_removed(config, straight, tmp_path):
    """Parts of its files and shards; a finished run is rid of them too."""
    shutil.copytree(straight, tmp_path / "run")
    parts = [tmp_path / "run" / ".state.safetensors.x1.part", tmp_path / "run/shards/train.part"]
    for part in parts:
        part.write_bytes(b"half")
    train(config, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(straight)


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
    assert "after step 3" in run_state.last_save(tmp_path / "run")
    assert train(config, tmp_path / "run", resume=True).training["resumed_at_step"] == 3
    assert contents(tmp_path / "run") == contents(straight)


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
    assert contents(tmp_path / "run") == contents(straight)
