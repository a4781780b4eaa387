"""Run other tools, and circuitkit, on models whose circuit is known, and print the tables.

Every peer has an environment of its own, made once from ``requirements/``, and runs offline, one
process a model, at most ten minutes. A result that exists is not made again; delete it to repeat.
What cannot be installed, fails or takes too long becomes a row that says so.

Usage: python tests/benchmarks/truth/run_peers.py [--seeds N] [--jobs N] [--peers ...] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tables import Result, tables

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
LIMIT_SECONDS = 600
NOISE = 0.2
"""Inert heads and neurons around the mechanism, so that a score of 0 does not name it."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A tool: the script that runs it, and its requirements unless it is our own."""

    name: str
    script: Path
    requirements: Path | None = None


PEERS = (
    *(
        Peer(name=name, script=HERE / f"peer_{name.replace('-', '_')}.py",
             requirements=HERE / "requirements" / f"{name.replace('-', '_')}.txt")
        for name in ("transformer-lens", "pyvene", "captum", "nnsight")
    ),
    Peer(name="circuitkit", script=HERE / "own.py"),
)  # fmt: skip


def make_environment(peer: Peer, folder: Path) -> Path:
    """The Python of a peer; installs its requirements if they are not there, or have changed."""
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    assert peer.requirements is not None
    wanted = peer.requirements.read_text()
    if not (stamp.exists() and stamp.read_text() == wanted):
        pip = (str(python), "-m", "pip", "install", "--quiet", "--requirement")
        _call([sys.executable, "-m", "venv", str(folder)], os.environ)
        _call([*pip, str(peer.requirements)], os.environ)
        stamp.write_text(wanted)
    return python


def prepare(
    peer: Peer, root: Path, make: Callable[[Peer, Path], Path] = make_environment
) -> Path | str:
    """The Python that runs a peer, or why there is none."""
    if peer.requirements is None:
        return Path(sys.executable)
    try:
        return make(peer, root / "envs" / peer.name)
    except subprocess.CalledProcessError as error:
        return f"could not be installed: {_last_line(error.stderr)}"


def run_peer(
    peer: Peer, python: Path | str, folder: Path, out: Path, limit: float = LIMIT_SECONDS
) -> None:
    """Run a peer on a folder and write one JSON, unless it is there."""
    if out.exists():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    if isinstance(python, str):
        part.write_text(_failed(python))
    else:
        try:
            command = [str(python), str(peer.script), str(folder), str(part)]
            _call(command, _environment(peer), limit)
        except subprocess.TimeoutExpired:
            part.write_text(_failed(f"did not end in {limit:.0f} s"))
        except subprocess.CalledProcessError as error:
            part.write_text(_failed(f"failed: {_last_line(error.stderr)}"))
    part.rename(out)


def _environment(peer: Peer) -> dict[str, str]:
    """One thread, nothing from the network; a peer sees nothing of circuitkit."""
    found = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if peer.requirements is not None:
        found.pop("PYTHONPATH", None)
    return found


def _call(command: Sequence[str], env, limit: float | None = None) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, env=env, timeout=limit)


def _last_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[-1] if (text or "").strip() else "no message"


def _failed(reason: str) -> str:
    return json.dumps({"failed": reason}) + "\n"


def plant_folder(name: str, seed: int, root: Path) -> Path:
    """The folder of a planted model, made once."""
    from circuitkit.planted import plant, save_gpt2

    folder = root / "models" / f"{name}-{seed}"
    if not (folder / "truth.json").exists():
        save_gpt2(plant(name, seed=seed, noise=NOISE, format="gpt2"), folder)
    return folder


def results(root: Path, folders: Sequence[Path], peers: Sequence[Peer]) -> Iterator[Result]:
    """All that was written of some models."""
    for folder, peer in product(folders, peers):
        path = root / "results" / peer.name / f"{folder.name}.json"
        if path.exists():
            truth = json.loads((folder / "truth.json").read_text())
            yield Result(peer=peer.name, truth=truth, found=json.loads(path.read_text()))


def main() -> None:
    """Plant, install, run what is missing, and print the tables."""
    from planted_gpt2 import NAMES

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(NAMES)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--peers", nargs="*", default=[peer.name for peer in PEERS])
    parser.add_argument("--out", type=Path, default=Path("out/truth"))
    parser.add_argument("--tables", action="store_true", help="print what is there, run nothing")
    given = parser.parse_args()
    root, peers = given.out.absolute(), [peer for peer in PEERS if peer.name in given.peers]
    planted = product(range(given.seeds), given.names or NAMES)
    folders = [plant_folder(name, seed, root) for seed, name in planted]
    if not given.tables:
        pythons = {peer.name: prepare(peer, root) for peer in peers}

        def one(job: tuple[Path, Peer]) -> None:
            folder, peer = job
            out = root / "results" / peer.name / f"{folder.name}.json"
            run_peer(peer, pythons[peer.name], folder, out)
            sys.stderr.write(f"{folder.name}: {peer.name}\n")

        with ThreadPoolExecutor(given.jobs) as pool:
            list(pool.map(one, product(folders, peers)))
    sys.stdout.write("\n".join(tables(list(results(root, folders, peers)))) + "\n")


if __name__ == "__main__":
    main()
