"""Search a circuit for every family, and bring what was found together.

In: the families of a task, the settings of an extraction, the model's means. Out: an extraction a
family, each in a folder of its own if asked, and the transfer of all of them. A family of which no
circuit meets the target is left out, with a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from circuitkit.checkpoints import Checkpoint
from circuitkit.circuit import Circuit, CircuitFolder
from circuitkit.circuit.transfer import PARTS_FOLDER, Transfer
from circuitkit.compiled import CompiledCircuit, FoldedModel
from circuitkit.errors import TaskError
from circuitkit.extraction import Criterion, ExtractConfig, Extraction, Means, run_extraction
from circuitkit.extraction.candidates import SMALL_MODEL, find_candidates
from circuitkit.extraction.resume import SavedSearch, search_key
from circuitkit.extraction.search import Restart
from circuitkit.extraction.target_loss import DEFAULT_TARGET_NATS
from circuitkit.families.find_families import FoundFamilies
from circuitkit.families.measure_transfer import FamilyTrial, TransferTrial, measure_transfer
from circuitkit.files import sha256
from circuitkit.model import Transformer, pair_losses
from circuitkit.model.device import device_named, placed, repeatable
from circuitkit.nodes import NodeSet
from circuitkit.progress import Progress
from circuitkit.provenance import Named
from circuitkit.task import Task
from circuitkit.task.family import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilySearch:
    """What the searches of all families share.

    ``where`` holds reference and device as ``run_extraction`` takes them; ``out`` is the folder of
    the whole circuit, None to keep nothing; ``skip`` names families whose circuits are known;
    ``brief`` is for circuits of which the nodes alone are wanted.
    """

    checkpoint: Checkpoint
    task: Task
    found: FoundFamilies
    config: ExtractConfig
    means: Means
    where: Mapping[str, Any]
    progress: Progress
    out: Path | None = None
    resume: bool = False
    skip: tuple[str, ...] = ()
    brief: bool = False
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self) -> dict[str, Extraction]:
        """An extraction for every family that has a circuit of its own, by name.

        One restart each; all of them where that misses the target, or finds a larger circuit than
        one of another family that does this one too.
        """
        some = [f for f in self.found.families.families if f.name not in self.skip]
        if len(self.found.families) < 2 or not some:
            return {}
        within = self._candidates()
        saved = self._saved(some, within)
        again = saved.again()
        found = self._searched([f for f in some if f.name not in (again or ())], within, 1, {})
        if again is None:
            is_one_round = self.config.tune or self.config.restarts == 1
            again = () if is_one_round else self._to_repeat(some, found)
            saved.keep_again(again)
        more = [family for family in some if family.name in again]
        found |= self._searched(more, within, self.config.restarts, found)
        for name, extraction in found.items():
            if extraction.circuit.outcome != "target_met":
                self.left_out[name] = (
                    f"no circuit of its own meets the target: {extraction.circuit.outcome}"
                )
        names = [f.name for f in some if f.name in found and f.name not in self.left_out]
        return {name: found[name] for name in names}

    def _searched(
        self, families: Sequence[Family], within: NodeSet | None, restarts: int,
        before: Mapping[str, Extraction],
    ) -> dict[str, Extraction]:  # fmt: skip
        """Go on from the restarts that were made before."""
        found: dict[str, Extraction] = {}
        for i, family in enumerate(families):
            self.progress("families", i, len(families))
            try:
                begun = before[family.name].restarts if family.name in before else ()
                found[family.name] = self._one(family, within, restarts, begun)
            except TaskError as error:
                self.left_out[family.name] = str(error)
        return found

    def _saved(self, families: Sequence[Family], within: NodeSet | None) -> SavedSearch:
        """What is kept of all these searches together: which families are searched again."""
        config = self.settings(self.config.restarts)
        keys = [
            search_key(self.checkpoint, family.task_of(self.task), config, None, within)
            for family in families
        ]
        saved = SavedSearch(None if self.out is None else CircuitFolder(self.out / PARTS_FOLDER))
        saved.begin(sha256("".join([self.means.sha256, *keys]).encode()), resume=self.resume)
        return saved

    def _to_repeat(
        self, families: Sequence[Family], found: Mapping[str, Extraction]
    ) -> tuple[str, ...]:
        """The families whose circuit is missing, or larger than another that does them: of the
        smallest rung, which restarts belong to.
        """
        circuits = {name: each.smallest or each.circuit for name, each in found.items()}
        model = self._model
        folded = FoldedModel(model, placed(self.means.values, model.device))
        return tuple(
            family.name
            for family in families
            if family.name in circuits
            and (
                circuits[family.name].outcome != "target_met"
                or self._has_smaller(family, circuits, folded)
            )
        )

    def _has_smaller(
        self, family: Family, circuits: Mapping[str, Circuit], folded: FoldedModel
    ) -> bool:
        """Whether a smaller circuit of another family is on target on the selection pairs."""
        own, widths = circuits[family.name], self.checkpoint.architecture.widths
        pairs = self.checkpoint.encode(list(family.pairs["select"]))
        for circuit in circuits.values():
            if (circuit.n_edges, circuit.n_nodes) < (own.n_edges, own.n_nodes):
                nodes = NodeSet(circuit.nodes.channels, widths)
                losses = pair_losses(CompiledCircuit(folded, nodes).differences(pairs))
                if float(losses.mean()) <= own.target_loss_nats:
                    return True
        return False

    @property
    def _model(self) -> Transformer:
        return self.checkpoint.load_model(device_named(self.where.get("device", "cpu")))

    def _one(
        self, family: Family, within: NodeSet | None, restarts: int, begun: Sequence[Restart]
    ) -> Extraction:
        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            self.progress(f"{family.name}: {stage}", done, total, note)

        out = None if self.out is None else self.out / PARTS_FOLDER / family.folder
        return run_extraction(
            self.checkpoint, family.task_of(self.task), self.settings(restarts), within=within,
            means=self.means, out=out, resume="or_replace" if self.resume else False,
            brief=self.brief, begun=begun, progress=progress, **self.where,
        )  # fmt: skip

    def settings(self, restarts: int) -> ExtractConfig:
        """Those of the whole search, on the smallest rung unless ``trusted`` was asked for."""
        some = {} if self.config.tune else {"restarts": restarts}
        return replace(self.config, rung=self.config.rung or "smallest", **some)

    def _candidates(self) -> NodeSet | None:
        """The nodes that a family's circuit may have in a large model: the whole task's."""
        if sum(self.checkpoint.architecture.widths.values()) <= SMALL_MODEL:
            return None
        target = self.config.target_loss_nats
        if target is None:
            losses = (self.found.loss_nats[f.name] for f in self.found.families.families)
            target = max(DEFAULT_TARGET_NATS, *losses)
        train = self.checkpoint.ask(self.task, "train", self.config.n_train, self.config.seed)
        select = self.checkpoint.ask(self.task, "select", self.config.n_select, self.config.seed)
        criterion = Criterion(
            model=self._model, values=self.means.values, pairs=select, target_loss_nats=target,
        )  # fmt: skip
        return find_candidates(train, criterion, progress=self.progress)

    def transfer(self, circuits: Mapping[str, Circuit], whole: Circuit | None) -> Transfer:
        """What every circuit does on every family that has one."""
        place = device_named(self.where.get("device", "cpu"))
        model = self._model
        with repeatable(place):
            trial = TransferTrial(
                task=Named(name=self.task.name, sha256=self.task.sha256),
                checkpoint=Named(name=self.checkpoint.name, sha256=self.checkpoint.sha256),
                by=self.found.families.by, model=model,
                values=placed(self.means.values, place), whole=whole, seed=self.config.seed,
                families=[
                    self._trial(family, circuits[family.name])
                    for family in self.found.families.families
                    if family.name in circuits
                ],
                notes=self.found.families.without(self.left_out).notes,
                missing=tuple(self.left_out), left_out=self.found.families.left_out,
            )  # fmt: skip
            return measure_transfer(trial, self.progress)

    def _trial(self, family: Family, circuit: Circuit) -> FamilyTrial:
        folder = None if self.out is None else f"{PARTS_FOLDER}/{family.folder}"
        pairs = self.checkpoint.encode(list(family.pairs["test"]))
        return FamilyTrial(name=family.name, folder=folder, circuit=circuit, pairs=pairs)
