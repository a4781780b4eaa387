"""A program that kills its own training runs, for test_resume.

``killed_run.py CONFIG FOLDER SEED N`` trains into FOLDER/straight and notes its
moments: every touch of a file, every half-written file, every report. Then it kills
runs with SIGKILL: each of FOLDER/0 … at a moment of its own, some while a shard is
written or a state saved, and FOLDER/again N times over. What it prints is where, a line a kill.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import torch
import torch._dynamo  # with the first optimizer; here once, and not again in every fork

from circuitkit.training import TrainingConfig, TrainingStep, load_config, train

TOUCHES = ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod")
DELICATE = ("report of tokens", "half of .state", "os.rename .state", "half of .model")


def watch(folder: Path, moment: Callable) -> Callable[[TrainingStep], None]:
    """Tell ``moment`` of everything that happens in a folder; a report to train with."""
    last, fsync = "", os.fsync

    def audit(event: str, args: tuple) -> None:
        nonlocal last
        if event in TOUCHES and str(args[0]).startswith(str(folder)):
            last = Path(args[0]).name
            moment(f"{event} {last}")

    def half(handle: int) -> None:
        size = os.fstat(handle).st_size
        moment(f"half of {last}", lambda: os.ftruncate(handle, size // 2))
        fsync(handle)

    sys.addaudithook(audit)
    os.fsync = half
    return lambda progress: moment(f"report of {progress.stage}")


def run(config: TrainingConfig, folder: Path, kill_at: int, log: Path) -> None:
    """Train, but die at one moment; the log ends with what it was."""
    lines = log.open("w", buffering=1)
    n_moments = 0

    def moment(what: str, spoil: Callable = lambda: None) -> None:
        nonlocal n_moments
        n_moments += 1
        lines.write(what + "\n")
        if n_moments == kill_at:
            spoil()
            os.kill(os.getpid(), signal.SIGKILL)

    train(config, folder, resume=True, report=watch(folder, moment))


def forked(config: TrainingConfig, folder: Path, kill_at: int = 0) -> list[str]:
    """The moments of a run in a process of its own."""
    log = folder.with_suffix(".log")
    child = os.fork()
    if child == 0:
        run(config, folder, kill_at, log)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed == bool(kill_at), f"{folder.name}: status {status}"
    return log.read_text().splitlines()


def chosen(moments: list[str], random: Random, n: int) -> Iterable[int]:
    """One of every delicate kind, the others anywhere."""
    for kind in DELICATE:
        yield random.choice([i for i, what in enumerate(moments, 1) if kind in what])
    yield from random.sample(range(1, len(moments) + 1), n - len(DELICATE))


def main(config_path: str, folder: str, seed: str, n: str) -> None:
    config, random = load_config(config_path), Random(int(seed))
    moments = forked(config, Path(folder, "straight"))
    where = []
    for i, at in enumerate(chosen(moments, random, int(n))):
        where.append(forked(config, Path(folder, str(i)), at)[-1])
    for _ in range(int(n)):  # never so late that a run resumed for the last time is over
        where.append(forked(config, Path(folder, "again"), random.randint(5, 25))[-1])
    sys.stdout.write("\n".join(where))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
