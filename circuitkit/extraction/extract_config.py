"""The settings of an extraction: the method, the target and the effort of the search."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from circuitkit.arguments import check_fields
from circuitkit.circuit import Ablation, Granularity, Rung
from circuitkit.errors import UsageError
from circuitkit.extraction.asks import DEFAULT_ASKS, AskName, check_asks
from circuitkit.extraction.mask_learning import PAPER, PruningConfig
from circuitkit.provenance import check_seed

Method = Literal["pruning", "attribution", "random"]
Schedule = Literal["dual", "paper"]


RESTARTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig:
    """The settings of an extraction.

    ``target_loss_nats`` None is 0.15, raised where the model's own loss is above 0.13. ``method``
    is where the ranking of nodes comes from: learned masks, attribution (``n_gradient_points`` 1
    is the plain gradient, more integrate it), or attribution permuted among the nodes of each
    site. ``schedule="paper"`` learns masks at a fixed size pressure and bisects on the scores
    by the mean loss; with ``refine=False`` nothing comes after that, which is the algorithm of
    Gao et al. 2025, section A.5. ``on_average`` asks for the target on the mean of all pairs,
    and not on every form of the task. ``pruning`` None is the schedule's own settings.
    ``restarts`` is a limit: the search ends when the smallest circuit has been found twice.
    ``tune`` tries so many settings of mask learning, around those of the schedule (0: none).
    ``rung`` is how far to climb; None is ``trusted`` for the usual search, ``smallest`` for the
    others. ``asks`` is what a trusted circuit has to do.

    Examples:
        >>> import circuitkit as ck
        >>> quick = ck.ExtractConfig(target_loss_nats=0.2, restarts=1, rung="smallest")
        >>> quick.n_train, quick.ablation
        (1024, 'mean')
    """

    target_loss_nats: float | None = None
    ablation: Ablation = "mean"
    method: Method = "pruning"
    schedule: Schedule = "dual"
    refine: bool = True
    granularity: Granularity = "node"
    calibrate: bool = False
    on_average: bool = False
    restarts: int = RESTARTS
    tune: int = 0
    n_gradient_points: int = 1
    seed: int = 0
    n_train: int = 1024
    n_select: int = 192
    n_test: int = 512
    pruning: PruningConfig | None = None
    rung: Rung | None = None
    asks: tuple[AskName, ...] = DEFAULT_ASKS

    def __post_init__(self) -> None:
        check_fields(self)
        target = self.target_loss_nats
        if target is not None and not 0 < target < float("inf"):
            raise UsageError(f"target loss {target}: expected a positive number of nats.")
        for name in ("restarts", "n_gradient_points", "n_train", "n_select", "n_test"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: expected at least 1.")
        if self.tune < 0:
            raise UsageError(f"tune {self.tune}: expected 0 or more.")
        check_seed(self.seed)
        object.__setattr__(self, "asks", check_asks(self.asks))
        self._check_combination()

    def _check_combination(self) -> None:
        if self.method != "pruning" and self.schedule != "dual":
            raise UsageError(
                f"method {self.method!r} learns no masks, so schedule {self.schedule!r} means "
                "nothing to it. Use method 'pruning', or leave the schedule out."
            )
        if self.method != "pruning" and self.tune:
            raise UsageError(
                f"method {self.method!r} learns no masks, so there is nothing to tune. "
                "Use method 'pruning', or leave tune out."
            )
        if self.tune and self.restarts != RESTARTS:
            raise UsageError(
                f"tune {self.tune} tries as many settings, in place of restarts, so restarts "
                f"{self.restarts} means nothing to it. Leave one of them out."
            )
        if self.method == "pruning" and self.n_gradient_points > 1:
            raise UsageError(
                f"method 'pruning' learns masks, so {self.n_gradient_points} gradient points mean "
                "nothing to it. Use method 'attribution', or leave them out."
            )
        if self.rung == "trusted" and not self._can_climb:
            raise UsageError(
                "rung 'trusted' is reached by method 'pruning', schedule 'dual', granularity "
                "'node', refined and not tuned. Use rung 'smallest', or leave it out."
            )
        if self.asks != DEFAULT_ASKS and not self.climbs:
            raise UsageError(
                f"asks {', '.join(self.asks)} are what a trusted circuit has to do, and this "
                "search ends at the smallest. Use rung 'trusted', or leave asks out."
            )
        if self.granularity == "edge" and not self.refine:
            raise UsageError(
                "granularity 'edge' drops edges one by one, which refine=False forbids. "
                "Use granularity 'node', or refine."
            )

    @property
    def climbs(self) -> bool:
        """Whether the search goes on from the smallest circuit to a trusted one."""
        return self._can_climb if self.rung is None else self.rung == "trusted"

    @property
    def narrows(self) -> bool:
        """Whether masks are learned over candidates only, also in a small model."""
        return self.method == "pruning" and self.schedule == "dual"

    @property
    def _can_climb(self) -> bool:
        return self.narrows and self.granularity == "node" and self.refine and not self.tune

    @property
    def learning(self) -> PruningConfig:
        """The settings of mask learning in force."""
        return self.pruning or (PAPER if self.schedule == "paper" else PruningConfig())

    def to_dict(self) -> dict[str, Any]:
        """Every setting as a plain value, for a file or a hash."""
        rung = "trusted" if self.climbs else "smallest"
        changed = {"pruning": asdict(self.learning), "rung": rung, "asks": list(self.asks)}
        return asdict(self) | changed


DEFAULT = ExtractConfig()
"""What is asked for unless something else is."""
