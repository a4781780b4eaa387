"""The upper bound that decides in a search: one-sided, over clusters of pairs.

In: a number for every selection pair. Out: the upper 95 % bound of their mean. Source:
docs/extraction.md#discretisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float, Int
from scipy.special import stdtrit
from torch import Tensor

from circuitkit.model import EncodedPairs
from circuitkit.task.pairs import forms_in

_LEVEL = 0.95
_UPPER = NormalDist().inv_cdf(_LEVEL)
_FEW_TEMPLATES = 12
"""With fewer, Student's quantile for a normal one: from here on they differ by a tenth at most."""

_FIRST_CHUNK = 32


def growing(pairs: EncodedPairs) -> list[EncodedPairs]:
    """The pairs in chunks, each twice as large as the last: most circuits fail on the first."""
    chunks, start, size = [], 0, _FIRST_CHUNK
    while start < len(pairs):
        chunks.append(pairs[start : start + size])
        start, size = start + size, 2 * size
    return chunks


def clusters_of(pairs: EncodedPairs) -> Int[Tensor, " pairs"]:
    """The number of each pair's template; with one template every pair is a cluster."""
    known = {name: i for i, name in enumerate(dict.fromkeys(pairs.templates))}
    units = [known[name] for name in pairs.templates]
    return torch.tensor(units if len(known) > 1 else range(len(units)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """What a mean over pairs is bounded over: their templates; and their forms.

    A form is one way of asking, the part of a template's name before ``/``. A mean over all
    pairs can hide a form on which a circuit fails.
    """

    clusters: Int[Tensor, " pairs"]
    forms: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, pairs: EncodedPairs) -> Units:
        """The templates of some pairs, and their forms if all of them are named."""
        forms = forms_in(pairs.templates)
        found = [[i for i, f in enumerate(forms) if f == form] for form in dict.fromkeys(forms)]
        return cls(clusters=clusters_of(pairs), forms=tuple(map(torch.tensor, found)))

    def __len__(self) -> int:
        return len(self.clusters)

    def worst_form(self, values: Float[Tensor, " pairs"]) -> float:
        """The largest mean over one form; over all pairs if there are none."""
        return float(values[self.of_worst_form(values)].double().mean())

    def of_worst_form(self, values: Float[Tensor, " pairs"]) -> Int[Tensor, " some"]:
        """The pairs of the form whose mean is largest; all pairs if there are no forms."""
        return max(
            self.forms, key=lambda form: float(values[form].double().mean()),
            default=torch.arange(len(values)),
        )  # fmt: skip

    def worst_template(self, values: Float[Tensor, " pairs"]) -> float:
        """The largest mean over the pairs of one template."""
        sums = torch.zeros(int(self.clusters.max()) + 1, dtype=torch.float64)
        sums.index_add_(0, self.clusters, values.double())
        return float((sums / self.clusters.bincount()).max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the upper bound of a mean may be at most, and the mean over any form or template.

    None is no limit: a form or a template has few pairs, and a model may be weak on it itself.
    """

    mean: float
    form: float | None = None
    template: float | None = None

    def excess(self, values: Float[Tensor, " pairs"], units: Units) -> float:
        """How far the values go, as a share of the limit: 1 is just within."""
        shares = [upper_bound(values, units.clusters) / self.mean]
        if self.form is not None:
            shares.append(units.worst_form(values) / self.form)
        if self.template is not None:
            shares.append(units.worst_template(values) / self.template)
        return max(shares)


def upper_bound(losses: Float[Tensor, " pairs"], clusters: Int[Tensor, " pairs"]) -> float:
    """The one-sided upper 95 % bound of a mean whose units are clusters of pairs.

    With few clusters the bound is wide: it then uses Student's quantile.
    """
    mean = losses.double().mean()
    n_clusters = int(clusters.max()) + 1
    sums = torch.zeros(n_clusters, dtype=torch.float64)
    sums.index_add_(0, clusters, losses.double() - mean)
    variance = sums.square().sum() / len(losses) ** 2 * n_clusters / max(1, n_clusters - 1)
    return float(mean + _quantile(n_clusters) * variance.sqrt())


def _quantile(n_clusters: int) -> float:
    if 1 < n_clusters < _FEW_TEMPLATES:
        return float(stdtrit(n_clusters - 1, _LEVEL))
    return _UPPER
