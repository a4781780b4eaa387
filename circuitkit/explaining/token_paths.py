"""Paths from tokens to the answer, through heads and neurons.

In: the runs of the two prompts of a pair. Out: for every way through the parts and every token (the
same texts at aligned places are one) what it adds to the two logit differences, the strongest
first, with the nodes that carry it. Source: ours (docs/reports.md#contributions).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from jaxtyping import Float

from circuitkit.circuit.explanation import Adds, Hop, Look, TokenPath, TokenSource
from circuitkit.explaining.circuit_parts import Array, Channels, Part
from circuitkit.explaining.prompt_run import PromptRun
from circuitkit.explaining.sensitivity import (
    Forth,
    Stream,
    at_answer,
    back,
    forth,
    from_inputs,
)
from circuitkit.nodes import FINAL_RESID, Node, Site

MOST_PATHS = 24
"""Paths that are listed; the others are summed up."""

_WEAK = 2e-3
"""A way through the parts is not followed on where all it carries is this share of the answer."""

_MOST_WAYS = 4096
"""A deep model has more ways than can be followed: the weaker ones are summed up too."""

_LISTED = 5e-3
"""A path is listed where it adds this share of what the strongest adds, in one prompt or both."""

_CARRIES = 0.25
"""A node is named if it carries this share of what the strongest node of its site does."""

_CARRIES_A_PROMPT = 0.1
"""A prompt is followed if the path adds this share there of what it adds in the other."""

_MOST_NAMED = 3

Way = tuple[Part, ...]
Sides = tuple[PromptRun, PromptRun]
Kind = str
_Added = tuple[Way | None, Kind, Float[Array, " seq"]]


@dataclass(frozen=True, slots=True)
class Place:
    """A token or position of the pair: its texts, None where a prompt has none there."""

    kind: Kind
    a: str | None
    b: str | None


@dataclass(slots=True)
class _Found:
    """What a path adds, by prompt and position."""

    adds: dict[int, dict[int, float]] = field(default_factory=lambda: {0: {}, 1: {}})

    def total(self, side: int) -> float:
        return sum(self.adds[side].values())

    @property
    def both(self) -> float:
        return (self.total(0) + self.total(1)) / 2

    @property
    def largest(self) -> float:
        return max(abs(self.total(0)), abs(self.total(1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The tokens of a pair: ``texts`` by prompt and position, ``place`` what is aligned there."""

    texts: tuple[Sequence[str], Sequence[str]]
    n_shared: int

    def place(self, kind: Kind, side: int, at: int) -> Place:
        """What stands at a position of a prompt, and at the aligned one of the other."""
        own, other = self.texts[side], self.texts[1 - side]
        there = at if at < self.n_shared else at + len(other) - len(own)
        aligned = at < self.n_shared or there >= self.n_shared
        mine = own[at] if kind == "token" else f"position {at}"
        theirs = None
        if aligned:
            theirs = other[there] if kind == "token" else f"position {there}"
        return Place(kind, *((mine, theirs) if side == 0 else (theirs, mine)))

    def positions(self, place: Place, side: int) -> tuple[int, ...]:
        """Where these texts stand in a prompt."""
        n = len(self.texts[side])
        return tuple(at for at in range(n) if self.place(place.kind, side, at) == place)


def find_paths(sides: Sides, places: Places) -> list[TokenPath]:
    """The paths of a pair, the strongest first, at most ``MOST_PATHS``."""
    found: dict[tuple[Way | None, Place], _Found] = defaultdict(_Found)
    for side, run in enumerate(sides):
        for way, kind, added in _ways(run):
            for at in np.flatnonzero(added).tolist():
                place = places.place(kind, side, at)
                found[way, place].adds[side][at] = float(added[at])
    most = max((some.largest for some in found.values()), default=0.0)
    listed = [(key, some) for key, some in found.items() if some.largest > _LISTED * most]
    strongest = sorted(listed, key=lambda item: -abs(item[1].both))[:MOST_PATHS]
    return [_path(sides, places, way, place, some) for (way, place), some in strongest]


def _ways(run: PromptRun) -> list[_Added]:
    """The ways through the parts with what each token adds by them; of too many the stronger."""
    weak = _WEAK
    while True:
        ways = list(islice(_ways_above(run, weak), _MOST_WAYS + 1))
        if len(ways) <= _MOST_WAYS:
            return ways
        weak *= 2


def _ways_above(run: PromptRun, weak: float) -> Iterator[_Added]:
    """Those that carry this share of all that is written; the way None is the bigram table."""
    table = np.zeros(len(run.tokens))
    table[run.last] = run.from_bigram_table
    yield None, "token", table
    stream = at_answer(run)
    direct = from_inputs(run, FINAL_RESID, stream[:, run.parts.kept[FINAL_RESID]])
    yield (), "token", direct.tokens
    yield (), "position", direct.positions
    whole = np.abs(stream * _written(run)).sum() + np.abs(direct.tokens).sum()
    yield from _ways_to(run, (), stream, weak * whole)


def _ways_to(run: PromptRun, way: Way, stream: Stream, least: float) -> Iterator[_Added]:
    """The longer ways that end in ``way``, before which the stream has this sensitivity."""
    for part in run.parts.parts:
        if way and not _before(part, way[0]):
            break
        write = part.site("resid_delta")
        if np.abs(stream[:, run.parts.kept[write]] * run.changes[write]).sum() <= least:
            continue
        found = back(run, part, stream)
        yield (part, *way), "token", found.tokens
        yield (part, *way), "position", found.positions
        yield from _ways_to(run, (part, *way), found.stream, least)


def _before(part: Part, later: Part) -> bool:
    return (part.layer, part.block) < (later.layer, later.block)


def _written(run: PromptRun) -> Stream:
    """All changes that are written to the stream."""
    total = np.zeros((len(run.tokens), run.parts.arch.d_model))
    for site, change in run.changes.items():
        if site.place == "resid_delta":
            total[:, run.parts.kept[site]] += np.abs(change)
    return total


def _path(sides: Sides, places: Places, way: Way | None, place: Place, found: _Found) -> TokenPath:
    hops, channels = (_TABLE, ()) if way is None else _named_along(sides, way, place, found)
    return TokenPath(
        source=TokenSource(
            kind=place.kind, a=place.a, b=place.b,  # pyright: ignore[reportArgumentType]
            a_at=places.positions(place, 0), b_at=places.positions(place, 1),
        ),
        hops=hops, channels=channels,
        adds=Adds(a=round(found.total(0), 6), b=round(found.total(1), 6)),
    )  # fmt: skip


_TABLE = (Hop(part="bigram table", nodes=()),)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Followed:
    """A path in one prompt: by part what its nodes carry and where a head looks, and its end."""

    carried: list[dict[Site, Array]]
    looks: list[Look | None]
    at_end: Array


def _named_along(
    sides: Sides, way: Way, place: Place, found: _Found
) -> tuple[tuple[Hop, ...], tuple[str, ...]]:
    """The nodes that carry a path in either prompt, and where it ends."""
    shown = [s for s in (0, 1) if abs(found.total(s)) >= _CARRIES_A_PROMPT * found.largest]
    shown.sort(key=lambda side: -abs(found.total(side)))
    followed = [_follow(sides[side], way, found.adds[side], place.kind, side) for side in shown]
    parts = sides[0].parts
    hops = []
    for i, part in enumerate(way):
        nodes = [
            node
            for site in followed[0].carried[i]
            for node in _named(parts.kept[site], site, [each.carried[i][site] for each in followed])
        ]
        looks = tuple(look for each in followed if (look := each.looks[i]))
        hops.append(Hop(part=str(part), nodes=tuple(nodes), looks=looks))
    ends = _named(parts.kept[FINAL_RESID], FINAL_RESID, [each.at_end for each in followed])
    return tuple(hops), tuple(ends)


def _follow(
    run: PromptRun, way: Way, starts_at: Mapping[int, float], kind: Kind, side: int
) -> _Followed:
    """What the nodes of each part carry of a path from its first positions to the answer."""
    starts = np.zeros(len(run.tokens))
    starts[list(starts_at)] = 1.0
    streams = [at_answer(run)]
    for part in way[::-1]:
        streams.append(back(run, part, streams[-1]).stream)
    reached, carried, looks = np.zeros_like(streams[0]), [], []
    for i, part in enumerate(way):
        after = streams[len(way) - 1 - i]
        sensitive = back(run, part, after).sites
        here = forth(run, part, reached, starts if i == 0 else None, kind)
        carried.append({
            site: (here.sites[site] * sensitive[site]).sum(0)
            for site in sorted(here.sites)
            if site.place != "act_in"
        })  # fmt: skip
        is_head = part.head is not None
        looks.append(_look(run, part, here, after, starts, "ab"[side]) if is_head else None)
        reached = here.stream
    at_end = reached[run.last, run.parts.kept[FINAL_RESID]]
    if not way:
        at_end = run.added(FINAL_RESID)[run.last, :, 0 if kind == "token" else 1]
    return _Followed(carried=carried, looks=looks, at_end=at_end * run.direction)


def _named(kept: Channels, site: Site, carried: Sequence[Float[Array, " kept"]]) -> list[str]:
    """The nodes that carry most in either prompt, the strongest first."""
    if not len(kept):
        return []
    most = np.abs(np.stack(carried)).max(0)
    order = np.argsort(-most, kind="stable")[:_MOST_NAMED]
    strong = [i for i in order if 0 < most[i] >= _CARRIES * most[order[0]]]
    return [str(Node(site, int(kept[i]))) for i in strong]


def _look(
    run: PromptRun, part: Part, here: Forth, after: Stream, starts: Array, prompt: str
) -> Look:
    """From where to where the head carries most of it."""
    parts, write, value = run.parts, part.site("resid_delta"), part.site("v")
    attention = run.pattern(part.layer, part.head or 0)
    at_write = after[:, parts.kept[write]] * run.slopes[write]
    through = (at_write @ parts.between(write)) @ here.sites[value].T
    carried = np.abs(attention * through)
    if not carried.any():  # it is only looked at
        carried = attention * np.abs((run.looked(part) * at_write).sum(1))[:, None] * starts
    at, looks_at = np.unravel_index(carried.argmax(), carried.shape)
    return Look(
        prompt=prompt, at=int(at), looks_at=int(looks_at),  # pyright: ignore[reportArgumentType]
        attention=float(attention[at, looks_at]),
    )  # fmt: skip
