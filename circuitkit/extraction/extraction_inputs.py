"""What an extraction depends on: all of it read and checked before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Int
from torch import Tensor

from circuitkit.checkpoints import Checkpoint
from circuitkit.checkpoints.native import REFERENCE
from circuitkit.checkpoints.pair_remarks import remarks
from circuitkit.checkpoints.reference import load_reference, reference_notes, sample_sha256
from circuitkit.circuit.folder import GIVEN
from circuitkit.errors import UsageError
from circuitkit.extraction.asks import DEFAULT_ASKS
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.means import Means
from circuitkit.extraction.resume import search_key
from circuitkit.extraction.search import Restart
from circuitkit.model import EncodedPairs
from circuitkit.nodes import NodeSet
from circuitkit.task import Split, Task

Sample = Int[Tensor, "n length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The pairs of every split, and what is odd about them and the sample in words."""

    train: EncodedPairs
    select: EncodedPairs
    test: EncodedPairs
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionInputs:
    """The inputs of one extraction.

    ``sample`` is what means are measured over (None for zero ablation without one),
    ``reference`` where it was read from, ``within`` the nodes a circuit may have (None for
    all), ``means`` the ablation values where they are known already. ``key`` is one hash over all
    of it. ``brief`` leaves out ladder and explanation. ``begun`` are the first restarts of this
    search, where it was run with fewer.
    """

    checkpoint: Checkpoint
    task: Task
    config: ExtractConfig
    sample: Sample | None
    reference: str | None
    within: NodeSet | None
    splits: Splits
    key: str
    means: Means | None = None
    brief: bool = False
    begun: Sequence[Restart] = ()

    @property
    def sources(self) -> dict[str, Any]:
        """Where they are, for a later validation."""
        return {
            "checkpoint": self.checkpoint.where,
            "reference": self.reference,
            "search": self.key,
        }


def read_inputs(
    checkpoint: Checkpoint, task: Task, config: ExtractConfig,
    reference: Sample | str | Path | None, reference_tokens: int | None, within: NodeSet | None,
) -> ExtractionInputs:  # fmt: skip
    """Read the sample, draw and encode every split.

    Raises:
        TaskError: if a pair cannot be asked of this checkpoint.
        UsageError: if ``within`` names a node that is not there, an ask needs a sample, or how to
            learn masks is given to a method that learns none.
        CheckpointError, CorpusError: if the sample is wrong or not there.
    """
    if config.method != "pruning" and config.pruning is not None:
        raise UsageError(
            f"method {config.method!r} learns no masks, so pruning means nothing to it. Use "
            "method 'pruning', or leave it out."
        )
    sample = _sample(checkpoint, config, reference, reference_tokens)
    notes = _no_sample(config) if sample is None else (
        reference_notes(checkpoint, reference, sample)
    )  # fmt: skip
    if within is not None:
        _check_within(within, checkpoint)
    return ExtractionInputs(
        checkpoint=checkpoint, task=task, config=config, sample=sample,
        reference=_named(checkpoint, reference, sample),
        within=within, splits=_encode(checkpoint, task, config, notes),
        key=search_key(checkpoint, task, config, sample, within),
    )  # fmt: skip


def _named(
    checkpoint: Checkpoint, reference: Sample | str | Path | None, sample: Sample | None
) -> str | None:
    """Where the sample was read from; a placeholder for tokens that are not the checkpoint's."""
    if isinstance(reference, str | Path):
        return str(Path(reference).resolve())
    if reference is None or sample is None:
        return None
    has_own = (checkpoint.path / REFERENCE).exists()
    own = checkpoint.load_reference()[: len(sample)] if has_own else None
    return None if own is not None and sample_sha256(own) == sample_sha256(sample) else GIVEN


def _no_sample(config: ExtractConfig) -> tuple[str, ...]:
    """What cannot be asked without a sample of text."""
    if not config.climbs or "background" not in config.asks:
        return ()
    if config.asks != DEFAULT_ASKS:
        raise UsageError(
            "the ask 'background' puts a circuit among activations on a sample of text, and the "
            "checkpoint has none. Give one as --reference, or leave that ask out."
        )
    return ("there is no sample of text, so it was not asked what the circuit does among its "
            "activations (background)",)  # fmt: skip


def _check_within(within: NodeSet, checkpoint: Checkpoint) -> None:
    """The nodes that a circuit may have are nodes of the model."""
    try:
        NodeSet(within.channels, checkpoint.architecture.widths)
    except ValueError as error:
        raise UsageError(f"within does not fit {checkpoint.name}: {error}.") from None


def _encode(
    checkpoint: Checkpoint, task: Task, config: ExtractConfig, notes: tuple[str, ...]
) -> Splits:
    """Draw every split; the test split is scored once, at the very end.

    The ood split is for validation only. Its pairs are checked here, so that an error comes
    before the search and not after it.
    """
    train = checkpoint.ask(task, "train", config.n_train, config.seed, copies=True)
    rest: dict[Split, int] = {"select": config.n_select, "test": config.n_test}
    rest |= {"ood": config.n_test} if task.templates("ood") else {}
    asked: dict[Split, EncodedPairs] = {
        split: checkpoint.ask(task, split, n, config.seed) for split, n in rest.items()
    }
    return Splits(
        train=train, select=asked["select"], test=asked["test"],
        remarks=(*remarks({"train": train, **asked}), *notes),
    )  # fmt: skip


def _sample(
    checkpoint: Checkpoint, config: ExtractConfig, reference: Sample | str | Path | None,
    n_tokens: int | None,
) -> Sample | None:  # fmt: skip
    """The sample to measure over; zero ablation needs none, but records the checkpoint's own."""
    has_none = reference is None and not (checkpoint.path / REFERENCE).exists()
    if has_none and config.ablation == "zero":
        return None
    return load_reference(checkpoint, reference, n_tokens)
