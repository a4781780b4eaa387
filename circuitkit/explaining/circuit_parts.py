"""The parts of a model that a circuit uses, as small arrays.

In: a model, the kept nodes, their ablation values. Out: for every site the kept channels and the
weights between kept channels, and for every head and layer of neurons with a kept node a ``Part``,
in the order of flow. All arrays are float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from circuitkit.compiled.site_parts import SiteParts
from circuitkit.model import Transformer
from circuitkit.nodes import NodeSet, Site, transformer_sites

Array = NDArray[np.float64]
Channels = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A head, or the neurons of a layer: what a path goes through between read and write."""

    layer: int
    head: int | None

    @property
    def block(self) -> str:
        """``attn`` or ``mlp``."""
        return "mlp" if self.head is None else "attn"

    def site(self, place: str) -> Site:
        """One of its sites."""
        return Site(self.layer, self.block, place)  # pyright: ignore[reportArgumentType]

    def __str__(self) -> str:
        return f"neurons {self.layer}" if self.head is None else f"head {self.layer}.{self.head}"


class CircuitParts(SiteParts):
    """What all prompts share; ``model`` has the circuit's edges alone where some were cut."""

    def __init__(self, model: Transformer, nodes: NodeSet, values: Mapping[Site, Tensor]) -> None:
        self.model, self.arch, self.nodes, self.values = model, model.arch, nodes, values
        self.sites: tuple[Site, ...] = transformer_sites(model.arch.n_layer)
        self.kept: dict[Site, Channels] = {s: np.array(nodes[s], dtype=int) for s in self.sites}
        self.mean = {site: as_array(values[site]) for site in self.sites}
        self._matrices: dict[Site, Array] = {}

    @cached_property
    def parts(self) -> list[Part]:
        """The heads and neurons that write to a kept channel, the first first."""
        found = []
        for layer in range(self.arch.n_layer):
            if len(self.kept[Site(layer, "attn", "resid_delta")]):
                found += [Part(layer=layer, head=head) for head in self._heads(layer)]
            if len(self.kept[Site(layer, "mlp", "resid_delta")]):
                found.append(Part(layer=layer, head=None))
        return found

    def _heads(self, layer: int) -> list[int]:
        """Those with a kept value; with a sink, also those that only turn to or from it."""
        places = "qkv" if self.arch.attention_sink else "v"
        channels = np.concatenate([self.kept[Site(layer, "attn", place)] for place in places])
        return sorted(set((channels // self.arch.d_head).tolist()))

    def matrix(self, site: Site) -> Float[Array, "kept all"]:
        """The rows of the matrix that is read into a site, those of kept channels."""
        if site not in self._matrices:
            weight, _ = self.weight(site)
            self._matrices[site] = as_array(weight[self.kept[site]])
        return self._matrices[site]

    def bias(self, site: Site) -> Float[Array, " kept"]:
        """The biases of kept channels; zeros where there are none."""
        _, bias = self.weight(site)
        return np.zeros(len(self.kept[site])) if bias is None else as_array(bias)[self.kept[site]]

    def between(self, target: Site) -> Float[Array, "kept_out kept_in"]:
        """The weights from the kept channels of the site before; of a head's write, from v."""
        return self.matrix(target)[:, self.kept[self.source(target)]]

    def source(self, target: Site) -> Site:
        """The site whose channels a linear map reads: of a head's write the values."""
        if target.place != "resid_delta":
            return Site(target.layer, target.block, "act_in")
        return Site(target.layer, target.block, "v" if target.block == "attn" else "post_act")

    @cached_property
    def positions(self) -> Float[Array, "n_ctx d_model"]:
        """Learned positions that are added to the embedding; zeros where there are none."""
        if self.arch.positions != "learned":
            return np.zeros((self.arch.n_ctx, self.arch.d_model))
        return as_array(self.model.transformer.wpe.weight)

    def of_head(self, head: int | None, site: Site) -> Int[Channels, " some"]:
        """Which of the kept channels of q, k or v belong to a head, as places among them."""
        return np.flatnonzero(self.kept[site] // self.arch.d_head == head)

    def held(self, part: Part) -> Float[Array, " kept"]:
        """What a head would write to kept channels if all it looks at were ablated."""
        channels = np.arange(self.arch.d_head) + self.arch.d_head * (part.head or 0)
        write, value = part.site("resid_delta"), part.site("v")
        return self.matrix(write)[:, channels] @ self.mean[value][channels]


def as_array(x: Tensor) -> Array:
    """A tensor as float64."""
    return x.detach().double().cpu().numpy()
