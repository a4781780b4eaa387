"""Laws of SIGTERM: it is treated as Ctrl-C, and the exit code is 143."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import copytree

import pytest
from test_cli import NANO, TRAINING, cli

import circuitkit.cli
from circuitkit.cli import main

MAIN = [sys.executable, "-c", "from circuitkit.cli import main; main()"]
GALLERY = Path(__file__).parents[1] / "reports" / "gallery" / NANO
WAIT_SECONDS = 120


class Running:
    """A command in a process of its own, with one thread, whose stderr can be waited for."""

    def __init__(self, *arguments, **options):
        self.told = []
        self.process = subprocess.Popen(
            [*MAIN, *map(str, arguments)], stderr=subprocess.PIPE, text=True,
            stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"}, **options,
        )  # fmt: skip

    def until_said(self, words):
        for line in self.process.stderr:
            self.told.append(line)
            if words in line:
                return
        raise AssertionError("".join(self.told))

    def until_there(self, path):
        until = time.monotonic() + WAIT_SECONDS
        while not path.exists():
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.02)

    def killed(self, number=signal.SIGTERM):
        """Its exit code and all of its stderr, once it got this signal."""
        os.kill(self.process.pid, number)
        out, err = self.process.communicate(timeout=WAIT_SECONDS)
        err = "".join([*self.told, err])
        assert out == ""
        assert "Traceback" not in err
        return self.process.returncode, err


@pytest.fixture
def running():
    """Starts a command; none outlives the test."""
    started = []

    def start(*arguments, **options):
        started.append(Running(*arguments, **options))
        return started[-1]

    yield start
    for ran in started:
        ran.process.kill()
        ran.process.communicate()


def to_go_on(err):
    """The command that was printed, without the first word."""
    return shlex.split(err.partition("go on with: ")[2].splitlines()[0])[1:]


def training(running, tmp_path, **options):
    (tmp_path / "mine.toml").write_text(TRAINING)
    ran = running("train", tmp_path / "mine.toml", "--out", tmp_path / "run",
                  "--set", "run.n_tokens=48000", **options)  # fmt: skip
    ran.until_said("training (tokens)")
    return ran


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
def test_a_training_saves_and_says_how_to_go_on(running, tmp_path, number, code):
    """Nothing is half-written; what is run again is the command that was printed, with --resume."""
    got, err = training(running, tmp_path).killed(number)
    config, out = tmp_path / "mine.toml", tmp_path / "run"
    arguments = ["train", str(config), "--out", str(out), "--set", "run.n_tokens=48000"]
    assert got == code
    assert "interrupted and saved" in err
    assert to_go_on(err) == [*arguments, "--resume"]
    assert (out / "state.safetensors").exists()
    assert not list(out.rglob("*.part"))
    assert not (out / "config.json").exists()
    anew = cli(*arguments)
    assert anew.code == 2
    assert "add --resume to go on" in anew.err
    again = running(*to_go_on(err), "--json")
    told, _ = again.process.communicate(timeout=WAIT_SECONDS)
    assert again.process.returncode == 0
    assert '"n_tokens": 48000' in told


@pytest.mark.slow
def test_sigterm_is_heeded_where_ctrl_c_is_ignored(running, tmp_path):
    """As in a job that a shell script put into the background."""
    ignoring = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    code, err = training(running, tmp_path, preexec_fn=ignoring).killed()
    assert code == 143
    assert "--resume" in to_go_on(err)


@pytest.mark.slow
def test_an_extraction_says_how_to_go_on(running, tmp_path):
    """The very command, with --resume; what was finished is kept."""
    out = tmp_path / "out"
    arguments = ("extract", NANO, "--task", "if_equals", "--out", out, "--reference-tokens", 4096)
    ran = running(*arguments)
    ran.until_there(out / "search.json")
    code, err = ran.killed()
    assert code == 143
    assert to_go_on(err) == [*map(str, arguments), "--resume"]
    assert not (out / "circuit.json").exists()
    assert not list(out.glob(".*.part"))


@pytest.mark.slow
def test_a_long_validation_says_how_to_go_on(running, tmp_path):
    """The command with its options; no verdict is written."""
    folder = copytree(GALLERY / "for_while", tmp_path / "circuit")
    (folder / "validation.json").unlink()
    ran = running("validate", folder, "--thorough", "--pairs", 32)
    ran.until_said("\n")
    code, err = ran.killed()
    assert code == 143
    assert to_go_on(err) == ["validate", str(folder), "--thorough", "--pairs", "32"]
    assert not (folder / "validation.json").exists()


@pytest.mark.slow
def test_a_command_with_nothing_to_save_is_stopped_in_an_orderly_way(running):
    """Without a traceback."""
    ran = running("checkpoints", NANO)
    ran.until_said("\n")
    code, err = ran.killed()
    assert code == 143
    assert "circuitkit: terminated; no file is left half-written." in err


def test_what_was_set_before_is_set_again(monkeypatch):
    """The command line leaves the process as it was."""
    before = signal.getsignal(signal.SIGTERM)
    assert cli("--version").code == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_outside_the_main_thread_runs_as_well():
    """Signals cannot be heeded there, and need not be."""
    code = (
        "import sys, threading; from circuitkit.cli import main; sys.argv = ['c', '--version']\n"
        "t = threading.Thread(target=main); t.start(); t.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "version" in done.stdout
    assert "Traceback" not in done.stderr
    assert callable(main)


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_of_several_processes_the_first_speaks(monkeypatch, capsys, rank, lines):
    """The others are terminated by the launcher, whatever the reason: they say nothing."""
    monkeypatch.setenv("LOCAL_RANK", rank)
    stop = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    monkeypatch.setattr(circuitkit.cli.circuitkit, "main", stop)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 143
    assert capsys.readouterr().err.count("terminated") == lines
