"""Does a dense model do what the circuits of its bridged twin say? A row a task.

    python tests/benchmarks/bridges.py [TASK ...] [--out out/bridges] [--checkpoint NAME]

Makes what is missing with ``circuitkit extract`` and ``circuitkit bridge``, a folder a task, for
every task that both models do: the circuit's cue nodes are moved and carried over. Then it moves
all nodes of the circuit, and last the whole sparse stream, at one crossing and with no circuit in
it: what the bridges could carry at all. Where that turns the dense answer and the circuit does not,
what the circuit leaves out is needed; where it does not, either, the decoder there misses what the
dense model reads.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from circuitkit import builtin_tasks, load_checkpoint, load_task, perturb
from circuitkit.bridges.bridge_file import BridgedPair, dense_checkpoint, load_pair, read_record
from circuitkit.bridges.carry import changed_differences
from circuitkit.bridges.crossings import crossing_names, streams
from circuitkit.checkpoints import Checkpoint
from circuitkit.circuit import CircuitFolder
from circuitkit.circuit.perturbation import FILE, Perturbation
from circuitkit.competence.measure import measure_competence
from circuitkit.model import EncodedPairs
from circuitkit.model.other_prompt import aligned_positions, other_rows
from circuitkit.progress import silent

N_PAIRS = 128


def made(checkpoint: str, task: str, folder: Path) -> None:
    """Extract and bridge, as far as it is not done; exit code 1 is a result."""
    program = [sys.executable, "-c", "from circuitkit.cli import main; main()"]
    for done, words in (
        ("circuit.json", ["extract", checkpoint, "--task", task, "--out", folder]),
        (FILE, ["bridge", folder, "--out", folder]),
    ):
        if not (folder / done).exists():
            code = subprocess.run(
                [*program, *map(str, words), "-q"], check=False, stdout=sys.stderr
            ).returncode
            if code not in (0, 1):
                raise SystemExit(code)


@torch.no_grad()
def whole_stream(pair: BridgedPair, pairs: EncodedPairs) -> list[float]:
    """The share of right dense answers that turn where the whole sparse stream is swapped,
    and carried over at one crossing.
    """
    rows, at = other_rows(pairs), aligned_positions(pairs)
    dense = streams(pair.dense, pairs.tokens)
    before = changed_differences(pair.dense, pairs, dense, {})
    found = []
    for i, x in enumerate(streams(pair.sparse, pairs.tokens)):
        carried = pair.bridges[i].carry(x[rows[:, None], at] - x)
        after = changed_differences(pair.dense, pairs, dense, {i: carried})
        found.append(float((after[before > 0] < 0).double().mean()))
    return found


def row(checkpoint: Checkpoint, pair: BridgedPair, task: str, folder: Path) -> str:
    """What the circuit turns, what its controls do, and what each crossing could carry."""
    found, circuit = Perturbation.load(folder), CircuitFolder(folder).circuit
    assert found is not None
    end, means = found.end.dense_follows, found.by_means_follows
    pairs = checkpoint.ask(load_task(task), "test", N_PAIRS, circuit.seed)
    shares = " | ".join(f"{share:.2f}" for share in whole_stream(pair, pairs))
    whole = perturb(
        checkpoint, task, circuit, ["all"], strengths=[1.0], n_pairs=N_PAIRS, n_random=1,
        progress=silent,
    ).end.dense_follows  # fmt: skip
    ratio = found.d_per_norm.effect / found.by_means_d_per_norm.effect
    return (
        f"| {task} | {len(circuit.edges)} | {len(found.nodes)} "
        f"| {end.effect:.2f} [{end.low:.2f}, {end.high:.2f}] | {means.effect:.2f} | {ratio:.1f} "
        f"| {found.random.follows:.2f} | {found.random.p_value:.3f} "
        f"| {whole.effect:.2f} [{whole.low:.2f}, {whole.high:.2f}] | {shares} |"
    )


def tasks_of_both(sparse: Checkpoint, dense: Checkpoint) -> Sequence[str]:
    """The built-in tasks that both models do."""
    done = [set(measure_competence(model, 512).done) for model in (sparse, dense)]
    return [task for task in builtin_tasks() if all(task in each for each in done)]


def main() -> None:
    """A row a task, as they are made; then on how many the dense answer follows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="all that both models do")
    parser.add_argument("--checkpoint", default="tinypython-bridged")
    parser.add_argument("--out", type=Path, default=Path("out/bridges"))
    given = parser.parse_args()
    checkpoint = load_checkpoint(given.checkpoint)
    dense = dense_checkpoint(checkpoint, read_record(checkpoint))
    pair = load_pair(checkpoint, dense)
    names = crossing_names(checkpoint.architecture.n_layer)
    sys.stdout.write(
        "| task | edges | moved | dense answer follows | by means | d per norm, to that of means "
        f"| random | p | all nodes | whole stream at {' | '.join(names)} |\n"
        f"|{'---|' * (9 + len(names))}\n"
    )
    follows = []
    for task in given.tasks or tasks_of_both(checkpoint, dense):
        folder = given.out / task
        made(given.checkpoint, task, folder)
        sys.stdout.write(row(checkpoint, pair, task, folder) + "\n")
        sys.stdout.flush()
        found = Perturbation.load(folder)
        assert found is not None
        follows.append(found.end.dense_follows.effect)
    n_turned = sum(share >= 0.5 for share in follows)
    sys.stdout.write(f"the dense answer follows on half of the prompts or more: {n_turned} of "
                     f"{len(follows)} tasks\n")  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
