"""Sites, nodes, edges and sets of nodes: the vocabulary of all other modules.

A site is a place in the forward pass, a node one channel there, an edge a
nonzero weight between two nodes. Source: Gao et al. 2025, sections 2.2 and
A.5, with the site names of the public release.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import total_ordering
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

Block = Literal["attn", "mlp", ""]

PLACES: dict[Block, tuple[str, ...]] = {
    "attn": ("act_in", "q", "k", "v", "resid_delta"),
    "mlp": ("act_in", "post_act", "resid_delta"),
}
"""The eight sites of a layer, in the order of the forward pass."""

SITE_KINDS = tuple(f"{block}.{place}" for block, places in PLACES.items() for place in places)

_SITE = re.compile(r"(0|[1-9][0-9]{0,3})\.(attn|mlp)\.([a-z_]+)")
_CHANNEL = re.compile(r"0|[1-9][0-9]{0,8}")


@total_ordering
@dataclass(frozen=True, slots=True)
class Site:
    """A place in the forward pass where nodes live; ordered as the pass runs.

    ``final_resid``, read by the unembedding, has no block and ``layer`` -1.

    Examples:
        >>> import circuitkit as ck
        >>> site = ck.Site.parse("3.attn.q")
        >>> site.layer, site.kind, site < ck.Site.parse("final_resid")
        (3, 'attn.q', True)
    """

    layer: int
    block: Block
    place: str

    @classmethod
    def parse(cls, text: str) -> Site:
        """Read ``"0.attn.q"`` or ``"final_resid"``.

        Raises:
            ValueError: if the text names no site.
        """
        if text == "final_resid":
            return FINAL_RESID
        match = _SITE.fullmatch(text)
        if match and match[3] in PLACES[match[2]]:  # pyright: ignore[reportArgumentType]
            return cls(int(match[1]), match[2], match[3])  # pyright: ignore[reportArgumentType]
        expected = "LAYER.BLOCK.PLACE such as 3.attn.q or 0.mlp.post_act, or final_resid"
        raise ValueError(f"no such site: {text!r}; expected {expected}")

    @property
    def kind(self) -> str:
        """The site without its layer, such as ``attn.q``."""
        return f"{self.block}.{self.place}" if self.block else self.place

    def __str__(self) -> str:
        return f"{self.layer}.{self.kind}" if self.block else self.place

    def __lt__(self, other: Site) -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[int, int]:
        return (self.layer, SITE_KINDS.index(self.kind)) if self.block else (10**6, 0)


FINAL_RESID = Site(-1, "", "final_resid")


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """One channel at one site, written ``10.attn.q:657``.

    Examples:
        >>> import circuitkit as ck
        >>> node = ck.Node.parse("10.attn.q:657")
        >>> node.site.layer, node.channel, node.label(d_head=8)
        (10, 657, '10.attn.q h82.c1')
    """

    site: Site
    channel: int

    @classmethod
    def parse(cls, text: str) -> Node:
        """Read ``"10.attn.q:657"``.

        Raises:
            ValueError: if the text names no node.
        """
        site, colon, channel = text.rpartition(":")
        if not colon or not _CHANNEL.fullmatch(channel):
            raise ValueError(f"no such node: {text!r}; expected SITE:CHANNEL such as 3.attn.q:17")
        return cls(Site.parse(site), int(channel))

    def label(self, d_head: int | None = None) -> str:
        """The name shown to people: attention channels by head, ``10.attn.q h82.c1``."""
        if d_head and self.site.kind in ("attn.q", "attn.k", "attn.v"):
            return f"{self.site} h{self.channel // d_head}.c{self.channel % d_head}"
        return str(self)

    def __str__(self) -> str:
        return f"{self.site}:{self.channel}"


@dataclass(frozen=True, slots=True)
class Edge:
    """A nonzero weight from one node to another.

    Examples:
        >>> import circuitkit as ck
        >>> source, target = ck.Node.parse("0.attn.v:8"), ck.Node.parse("0.attn.resid_delta:95")
        >>> print(ck.Edge(source, target, 1.5))
        0.attn.v:8 -> 0.attn.resid_delta:95 (+1.5)
    """

    source: Node
    target: Node
    weight: float

    def __str__(self) -> str:
        return f"{self.source} -> {self.target} ({self.weight:+.3g})"


def transformer_sites(n_layer: int) -> tuple[Site, ...]:
    """The 8·n_layer + 1 sites, in the order of the forward pass."""
    layers = range(n_layer)
    inner = (Site(i, block, place) for i in layers for block in PLACES for place in PLACES[block])
    return (*inner, FINAL_RESID)


class NodeSet(Set[Node]):
    """A frozen set of nodes; ``channels`` is the same as a mapping from site to channels.

    Set algebra (``| & - ^ <= ==``) comes from ``collections.abc.Set``; iteration
    is in the order of the forward pass. ``~`` needs all nodes there are: give
    ``widths``, which the results of the algebra inherit.

    Args:
        channels: site to channels; sites without channels are left out.
        widths: site to its number of channels, the universe; may be absent.

    Raises:
        ValueError: if a channel lies outside its site's width.

    Examples:
        >>> import circuitkit as ck
        >>> site = ck.Site.parse("0.attn.q")
        >>> some, others = ck.NodeSet({site: [3, 5]}), ck.NodeSet({site: [5, 7]})
        >>> [str(node) for node in some | others]
        ['0.attn.q:3', '0.attn.q:5', '0.attn.q:7']
        >>> len(~ck.NodeSet({site: [3]}, widths={site: 128}))
        127
    """

    def __init__(
        self,
        channels: Mapping[Site, Iterable[int]] | None = None,
        widths: Mapping[Site, int] | None = None,
    ) -> None:
        kept = {site: tuple(sorted(set(chosen))) for site, chosen in (channels or {}).items()}
        self.channels: MappingProxyType[Site, tuple[int, ...]] = MappingProxyType(
            {site: kept[site] for site in sorted(kept) if kept[site]}
        )
        self.widths: MappingProxyType[Site, int] | None = (
            None if widths is None else MappingProxyType(dict(widths))
        )
        for site, chosen in self.channels.items():
            _check_channels(site, chosen, self.widths)

    @classmethod
    def of(cls, nodes: Iterable[Node], widths: Mapping[Site, int] | None = None) -> NodeSet:
        """The set of the given nodes."""
        channels: dict[Site, list[int]] = {}
        for node in nodes:
            channels.setdefault(node.site, []).append(node.channel)
        return cls(channels, widths)

    @classmethod
    def full(cls, widths: Mapping[Site, int]) -> NodeSet:
        """Every node there is."""
        return cls({site: range(width) for site, width in widths.items()}, widths)

    def _from_iterable(self, it: Iterable[Node]) -> NodeSet:  # pyright: ignore[reportIncompatibleMethodOverride]
        return NodeSet.of(it, self.widths)

    def __getitem__(self, site: Site) -> tuple[int, ...]:
        """The channels kept at a site, in order; empty when there are none."""
        return self.channels.get(site, ())

    def __iter__(self) -> Iterator[Node]:
        return (Node(site, channel) for site in self.channels for channel in self[site])

    def __len__(self) -> int:
        return sum(map(len, self.channels.values()))

    def __contains__(self, item: object) -> bool:
        return isinstance(item, Node) and item.channel in self[item.site]

    def __hash__(self) -> int:
        return self._hash()

    if TYPE_CHECKING:  # collections.abc.Set promises less than _from_iterable gives

        def __and__(self, other: object) -> NodeSet: ...
        def __or__(self, other: object) -> NodeSet: ...
        def __sub__(self, other: object) -> NodeSet: ...

    def __invert__(self) -> NodeSet:
        if self.widths is None:
            raise ValueError("the complement of a NodeSet needs its widths: NodeSet(nodes, widths)")
        return NodeSet.full(self.widths) - self  # pyright: ignore[reportReturnType]

    def __repr__(self) -> str:
        return f"NodeSet({len(self)} nodes at {len(self.channels)} sites)"


def _check_channels(site: Site, chosen: tuple[int, ...], widths: Mapping[Site, int] | None) -> None:
    width = chosen[-1] + 1 if widths is None else widths.get(site, 0)
    if chosen[0] < 0 or chosen[-1] >= width:
        outside = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise ValueError(f"no node {site}:{outside}: the site has {width} channels")
