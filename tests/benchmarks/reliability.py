"""What goes wrong on a machine: kills, full disks, two writers, clocks, locales, sizes.

    PYTHONPATH=tests python tests/benchmarks/reliability.py [PART ...] [--moments 20]
        [--verbs VERB ...]

Each part asks the same of every verb: what is in the folder is whole, and what then finishes the
work ends with the bytes of a run that nothing disturbed. Small models, so that a run takes seconds.
Disks are tmpfs, so ``full`` and ``readonly`` need root; ``clock`` needs faketime. Prints a row a
kind, and the first fault of each. Exit code 1 if there was one.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from random import Random

import pandas as pd
from safetensors import SafetensorError, safe_open
from tiny_run import contents, tiny_config

from circuitkit.studies.results import load_results

VERBS = ("train", "extract", "validate", "report", "study")
MODEL, TASK = "closing_quote", "task.jsonl"
STUDY = """
format = "circuitkit.study/1"
name = "tiny"
question = "Does the seed change the circuit?"
checkpoints = ["model"]
tasks = ["model/task.jsonl"]
seeds = [0, 1, 2]
rungs = ["smallest"]
plots = ["size_by_rung"]

[extract]
restarts = 1
"""
RESUME = {"train": ["--resume"], "extract": ["--resume"], "study": ["--resume"]}
Tally = Iterator[tuple[str, str]]
"""What was tried, and the fault that it showed, or nothing."""


class Bench:
    """A model, a task, a corpus and a study in a folder, and what each verb makes of them."""

    def __init__(self, here: Path, verbs: Sequence[str] = VERBS) -> None:
        self.here, self.verbs = here, verbs
        here.mkdir(parents=True)
        self.config = tiny_config(here)
        run("plant", MODEL, "--out", here / "model")
        (here / "study.toml").write_text(STUDY)
        self.straight: dict[str, dict[str, bytes]] = {}
        self.seconds: dict[str, float] = {}
        for verb in VERBS:
            folder = self.start(verb, here / "straight")
            began = time.monotonic()
            done = run(*self.words(verb, folder))
            assert done.returncode == 0, done.stderr
            self.seconds[verb] = time.monotonic() - began
            self.straight[verb] = held(verb, folder)

    def start(self, verb: str, folder: Path) -> Path:
        """The folder as it is before the verb: what the verbs before it made, or nothing."""
        needs = {"validate": "extract", "report": "validate"}.get(verb)
        if needs and not (folder / verb).exists():
            done = self.here / "straight" / needs
            shutil.copytree(done, folder / verb)
        return folder / verb

    def words(self, verb: str, folder: Path) -> list[str | Path]:
        """The command line."""
        model = self.here / "model"
        return {
            "train": ["train", self.config, "--out", folder],
            "extract": ["extract", model, "--task", model / TASK, "--out", folder],
            "validate": ["validate", folder],
            "report": ["report", folder],
            "study": ["study", self.here / "study.toml", "--out", folder, "--workers", "1"],
        }[verb]

    def finish(self, verb: str, folder: Path) -> str:
        """Do the work to its end; the fault, if the end is another than that of the straight run.

        Where a run was stopped before anything was written there is nothing to resume.
        """
        there = folder.exists() and any(folder.iterdir())
        done = run(*self.words(verb, folder), *(RESUME.get(verb, []) if there else []))
        if done.returncode:
            return f"exit code {done.returncode} afterwards: {done.stderr.strip()[-300:]}"
        return unlike(held(verb, folder), self.straight[verb])


def run(
    *words: object, first: Sequence[str] = (), env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command, to its end, in another environment or behind another program."""
    return subprocess.run(
        [*first, *command(*words)], check=False, capture_output=True, text=True,
        errors="replace", env=environment(env),
    )  # fmt: skip


def command(*words: object) -> list[str]:
    """The command line of this interpreter's circuitkit."""
    return [sys.executable, "-c", "from circuitkit.cli import main; main()", *map(str, words)]


def environment(more: dict[str, str] | None = None) -> dict[str, str]:
    """One thread, so that sums are added in one order."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **(more or {})}


def held(verb: str, folder: Path) -> dict[str, bytes]:
    """The bytes in a folder, less when and how fast they were made."""
    if verb == "train":
        return contents(folder)
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found |= {name: untimed(name, data) for name, data in found.items()}
    if verb != "study":
        return found
    table = load_results(folder).repeatable.to_csv().encode()
    cells = {k: v for k, v in found.items() if k.startswith("cells/") and "row.json" not in k}
    return {**cells, "results": table}


def untimed(name: str, data: bytes) -> bytes:
    """A file less the seconds that each finding took."""
    if name.endswith("findings.csv"):
        return pd.read_csv(io.BytesIO(data)).drop(columns="seconds").to_csv().encode()
    if name.endswith("validation.json"):
        verdict = json.loads(data)
        for finding in verdict["findings"]:
            del finding["seconds"]
        return json.dumps(verdict).encode()
    return data


def unlike(found: dict[str, bytes], expected: dict[str, bytes]) -> str:
    """The first file that differs, or nothing."""
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            what = ("is too much" if name not in expected
                    else "is missing" if name not in found else "differs")  # fmt: skip
            return f"{name} {what}"
    return ""


def half(folder: Path) -> str:
    """The first file that is not whole, or nothing. Parts are named so that nobody reads them."""
    for path in sorted(folder.rglob("*")) if folder.exists() else []:
        if not path.is_file() or path.name.endswith(".part"):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".safetensors":
                with safe_open(path, "pt") as file:
                    sorted(file.keys())
            elif path.suffix == ".pdf" and not path.read_bytes().rstrip().endswith(b"%%EOF"):
                return f"{path.name} is half a PDF"
        except (ValueError, SafetensorError) as error:
            return f"{path.name}: {error}"
    return ""


def kills(bench: Bench, moments: int, number: signal.Signals) -> Tally:
    """A signal at random moments of every verb."""
    random = Random(0)
    for verb in bench.verbs:
        for i in range(moments):
            folder = bench.start(verb, bench.here / f"{number.name}-{i}")
            process = subprocess.Popen(
                command(*bench.words(verb, folder)), env=environment(),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            try:
                process.wait(random.uniform(0.0, 1.0) * bench.seconds[verb])
            except subprocess.TimeoutExpired:
                process.send_signal(number)
            code = process.wait(120)
            allowed = (0, -number, 128 + number)
            fault = "" if code in allowed else f"exit code {code}"
            fault = fault or half(folder) or bench.finish(verb, folder)
            shutil.rmtree(folder.parent, ignore_errors=True)
            yield f"{verb}, {number.name}", fault


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    subprocess.run(mounted, check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def refusal(done: subprocess.CompletedProcess[str], words: str) -> str:
    """The fault, unless a command ended with exit code 2 and one message that says so."""
    if done.returncode != 2 or "Traceback" in done.stderr:
        return f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"
    return "" if words.lower() in done.stderr.lower() else f"it says {done.stderr.strip()[-200:]!r}"


def used(folder: Path) -> int:
    """The bytes taken on the file system of a folder."""
    disk = os.statvfs(folder)
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize


def full(bench: Bench, moments: int) -> Tally:
    """A disk that fills up amid the work, and has room again afterwards."""
    for verb in bench.verbs:
        with disk(bench.here / "disk", "64m") as folder:
            at = bench.start(verb, folder)
            before = used(folder)
            run(*bench.words(verb, at))
            made = used(folder) - before
        for i in range(moments // 4):
            with disk(bench.here / "disk", "64m") as folder:
                at = bench.start(verb, folder)
                remount(folder, f"size={used(folder) + int(made * (i + 0.5) / (moments // 4))}")
                done = run(*bench.words(verb, at))
                remount(folder, "size=64m")
                is_row = verb == "study" and done.returncode == 1  # of the cell that failed
                fault = "" if is_row else refusal(done, "No space left")
                yield f"{verb}, disk full", fault or half(at) or bench.finish(verb, at)


def readonly(bench: Bench, moments: int) -> Tally:
    """A folder that cannot be written."""
    for verb in bench.verbs:
        with disk(bench.here / "disk", "64m") as folder:
            at = bench.start(verb, folder)
            remount(folder, "ro")
            done = run(*bench.words(verb, at))
            remount(folder, "rw")
            yield f"{verb}, read-only", refusal(done, "Read-only") or bench.finish(verb, at)


def writers(bench: Bench, moments: int) -> Tally:
    """Two commands on one folder at once: one result, and no mixture."""
    for verb in bench.verbs:
        for i in range(moments // 4):
            folder = bench.start(verb, bench.here / f"two-{i}")
            words = command(*bench.words(verb, folder))
            both = []
            for _ in range(2):
                both.append(subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE,
                                             stdout=subprocess.DEVNULL, text=True))  # fmt: skip
                time.sleep(bench.seconds[verb] * i / moments)
            ends = [(p.communicate(timeout=300)[1], p.returncode) for p in both]
            codes = sorted(code for _, code in ends)
            fault = "" if codes in ([0, 0], [0, 2]) else f"exit codes {codes}: {ends}"[:400]
            yield (
                f"{verb}, two writers",
                fault or unlike(held(verb, folder), bench.straight[verb]),
            )


def disturbed(
    bench: Bench, name: str, env: dict[str, str] | None = None, first: Sequence[str] = ()
) -> Tally:
    """Every verb in another environment: the same bytes."""
    for verb in bench.verbs:
        folder = bench.start(verb, bench.here / name)
        done = run(*bench.words(verb, folder), first=first, env=env)
        fault = f"exit code {done.returncode}: {done.stderr[-300:]}" if done.returncode else ""
        yield f"{verb}, {name}", fault or unlike(held(verb, folder), bench.straight[verb])


def clock(bench: Bench, moments: int) -> Tally:
    """The clock 20 years back; a run that was begun today goes on there."""
    if shutil.which("faketime") is None:
        raise SystemExit("the part clock needs faketime (apt-get install faketime)")
    back = ("faketime", "-f", "-20y")
    yield from disturbed(bench, "clock set back", first=back)
    folder = bench.here / "begun" / "train"
    words = bench.words("train", folder)
    run(*words)
    done = run(*words, "--resume", first=back)
    fault = done.stderr[-300:] if done.returncode else ""
    yield "train, clock set back", fault or unlike(held("train", folder), bench.straight["train"])


def locales(bench: Bench, moments: int) -> Tally:
    """The C locale, without Python's UTF-8 mode."""
    env = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    yield from disturbed(bench, "C locale", env)


def paths(bench: Bench, moments: int) -> Tally:
    """Everything in a folder whose name has blanks, quotes and letters of other scripts."""
    other = Bench(bench.here / "a b 'c' #d é 目")
    for verb in bench.verbs:
        ours, theirs = bench.straight[verb], other.straight[verb]
        missing = sorted(ours.keys() ^ theirs.keys())
        yield f"{verb}, odd path", f"{missing} in one of them only" if missing else ""


def sizes(bench: Bench, moments: int) -> Tally:
    """A file of a million pairs, and a prompt of 10 MB: refused, soon, in little memory."""
    pair = {"a": {"prompt": "x y", "answer": "z"}, "b": {"prompt": "y x", "answer": "w"}}
    line = json.dumps(pair) + "\n"
    long = json.dumps(pair | {"a": {"prompt": "x" * 10_000_000, "answer": "y"}}) + "\n"
    for name, text in (("a million lines", line * 1_000_000), ("a prompt of 10 MB", line + long)):
        path = bench.here / f"{name}.jsonl"
        path.write_text(text)
        for words in (
            ["tasks", "check", path, "--checkpoint", "tinypython-nano"],
            ["extract", "tinypython-nano", "--task", path, "--out", bench.here / "refused"],
        ):
            began = time.monotonic()
            fault = refusal(run(*words), "")
            seconds = time.monotonic() - began
            slow = f"it takes {seconds:.0f} s" if seconds > 60 else ""
            yield f"{name}", fault or slow
        path.unlink()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    yield "memory of all of these", f"{peak:.1f} GiB" if peak > 2 else ""


PARTS: dict[str, Callable[[Bench, int], Tally]] = {
    "kill": lambda bench, n: kills(bench, n, signal.SIGKILL),
    "term": lambda bench, n: kills(bench, n, signal.SIGTERM),
    "full": full, "readonly": readonly, "writers": writers, "clock": clock, "locale": locales,
    "paths": paths, "sizes": sizes,
}  # fmt: skip


def main() -> None:
    """A row a kind of disturbance: how often it was tried, how often all was well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--verbs", nargs="+", choices=VERBS, default=VERBS)
    given = parser.parse_args()
    sys.stdout.write("| what | tried | all well | the first fault |\n|---|---|---|---|\n")
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name) / "plain", given.verbs)
        for part in given.parts or PARTS:
            for what, group in groupby(PARTS[part](bench, given.moments), itemgetter(0)):
                found = [fault for _, fault in group]
                bad = [fault for fault in found if fault]
                faults += len(bad)
                first = bad[0].replace("\n", " ") if bad else ""
                good = len(found) - len(bad)
                sys.stdout.write(f"| {what} | {len(found)} | {good} | {first} |\n")
                sys.stdout.flush()
    raise SystemExit(1 if faults else 0)


if __name__ == "__main__":
    main()
