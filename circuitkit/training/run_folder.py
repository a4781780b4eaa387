"""The folder of a run: a configuration in, ``run.json`` and a claim on the folder out.

``run.json`` holds the configuration as it runs: ``run.matmul = "auto"`` is
settled once, when the run begins, so that whoever resumes it multiplies alike.
"""

from __future__ import annotations

import json
from pathlib import Path

from circuitkit.checkpoints.native import RUN
from circuitkit.corpora import folders_of
from circuitkit.errors import UsageError
from circuitkit.files import claim_folder, read_text, remove, sha256, write_whole
from circuitkit.training.matmul import faster_in_bfloat16
from circuitkit.training.train_config import TrainingConfig

_EXPECTED = "the configuration of a run"


def claim(config: TrainingConfig, folder: Path, *, resume: bool) -> None:
    """Make a folder that of this run; what a killed run left half-written is removed.

    Raises:
        UsageError: if it holds something else, a run of another configuration, or a run
            and ``resume`` is off; or if it lies in a folder that the corpus reads.
        CorpusError: if the corpus is no right mixture.
    """
    is_begun = (folder / RUN).exists()
    for corpus in folders_of(config.corpus.source):
        if not is_begun and folder.resolve().is_relative_to(corpus.resolve()):
            raise UsageError(
                f"{folder} lies in {corpus}, which corpus.source reads: the run would learn from "
                "files of its own. Choose an --out outside it."
            )
    claim_folder(folder, RUN, "a training run")
    if not is_begun:
        write_whole(folder / RUN, _text(config))
    elif not resume:
        raise UsageError(
            f"{folder} holds a training run already; add --resume to go on with it, or choose "
            "another --out."
        )
    elif read_text(folder / RUN, UsageError, _EXPECTED) != _text(config):
        raise UsageError(
            f"{folder / RUN} is another configuration than the one given; resume with the one "
            "it began with, or choose another --out."
        )
    for part in (*folder.glob(".*.part"), *folder.glob("shards/*.part")):
        remove(part)


def settled(config: TrainingConfig, folder: Path) -> TrainingConfig:
    """The configuration with ``auto`` replaced: as the run began, or by what the machine has."""
    if config.run.matmul != "auto":
        return config
    faster = _begun_in(folder) or _for_machine(config.run.device)
    return config.model_copy(update={"run": config.run.model_copy(update={"matmul": faster})})


def config_sha256(config: TrainingConfig) -> str:
    """The hash by which a saved state knows its configuration."""
    return sha256(_text(config).encode())


def _text(config: TrainingConfig) -> str:
    return config.model_dump_json(indent=1) + "\n"


def _for_machine(device: str) -> str:
    return "bfloat16" if faster_in_bfloat16(device) else "float32"


def _begun_in(folder: Path) -> str | None:
    """What a run that is there already multiplies in; None without one, or if it is damaged."""
    try:
        begun = json.loads(read_text(folder / RUN, UsageError, _EXPECTED))["run"]["matmul"]
    except (UsageError, ValueError, KeyError, TypeError):
        return None
    return begun if begun in ("float32", "bfloat16", "tf32") else None
