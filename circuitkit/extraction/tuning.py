"""Tuning: search over the settings of mask learning, to measure what such a search adds.

In: the centre of the search and the number of tries. Out: the settings of each try, in rounds;
the number of edges of each goes back to the sampler. Source: Gao et al. 2025, section A.5, tunes
eight settings for every task and model; Watanabe 2023 for the sampler (optuna's TPE). By
default nothing is tuned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from circuitkit.errors import UsageError
from circuitkit.extraction.mask_learning import PruningConfig

if TYPE_CHECKING:
    import optuna

AT_ONCE = 4
"""Tries in a round: fixed, so that the result does not depend on the number of cores."""

TIMES: dict[str, float] = {
    "lr": 5.0, "pressure_start": 10.0, "temperature": 3.0, "init_std": 5.0, "weight_decay": 10.0,
}  # fmt: skip
"""The factor around the centre within which each is drawn, log-uniformly."""

INIT_LOW = 0.02, 0.4
BETA2 = 0.8, 0.999
"""Ranges of settings for which a factor makes no sense."""


@dataclass(slots=True)
class Tuning:
    """Suggests settings and takes the results; the first try is the centre itself."""

    centre: PruningConfig
    study: optuna.Study

    @classmethod
    def around(cls, centre: PruningConfig, seed: int) -> Tuning:
        """Begin a search.

        Raises:
            UsageError: if optuna is not installed.
        """
        try:
            import optuna
        except ModuleNotFoundError:
            raise UsageError(
                "tuning needs optuna, which is not installed: "
                "pip install 'sparse-circuitkit[tune]'."
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.enqueue_trial({name: getattr(centre, name) for name in _ranges(centre)})
        return cls(centre=centre, study=study)

    def ask(self, n: int) -> list[tuple[optuna.Trial, PruningConfig]]:
        """Settings for the next round."""
        return [(trial, self._suggested(trial)) for trial in (self.study.ask() for _ in range(n))]

    def tell(self, trials: Sequence[optuna.Trial], sizes: Sequence[int]) -> None:
        """Record a round: the edges of each try, or the model's where the target was missed."""
        for trial, size in zip(trials, sizes, strict=True):
            self.study.tell(trial, float(size))

    def _suggested(self, trial: optuna.Trial) -> PruningConfig:
        found = {
            name: trial.suggest_float(name, low, high, log=name in TIMES)
            for name, (low, high) in _ranges(self.centre).items()
        }
        return replace(self.centre, **found, init_high=self._init_high(found["init_low"]))

    def _init_high(self, init_low: float) -> float:
        """If all nodes start at one score, they still do."""
        flat = self.centre.init_high == self.centre.init_low
        return init_low if flat else self.centre.init_high


def _ranges(centre: PruningConfig) -> dict[str, tuple[float, float]]:
    around = {name: getattr(centre, name) for name in TIMES}
    scaled = {name: (c / TIMES[name], c * TIMES[name]) for name, c in around.items() if c > 0}
    return scaled | {"init_low": INIT_LOW, "beta2": BETA2}
