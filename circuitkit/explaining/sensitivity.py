"""How the answer of a linear run depends on what lies before: back and forth through its parts.

In: a run, and how much the logit difference changes per unit of each channel of the stream
(``Stream``). Out: the same before a part, and what the tokens add there. Forth: what reaches the
nodes of a part from given tokens. Source: ours (docs/reports.md#contributions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from circuitkit.explaining.circuit_parts import Array, Part
from circuitkit.explaining.prompt_run import PromptRun
from circuitkit.nodes import FINAL_RESID, Site

Stream = Float[Array, "seq d_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """What lies before a part.

    ``sites`` has the sensitivity of each of its kept channels, ``stream`` that of the stream that
    it reads, ``tokens`` and ``positions`` what these add by being read or looked at.
    """

    sites: dict[Site, Float[Array, "seq kept"]]
    stream: Stream
    tokens: Float[Array, " seq"]
    positions: Float[Array, " seq"]


def at_answer(run: PromptRun) -> Stream:
    """At the end: the direction of the logit difference, at the last token."""
    stream = np.zeros((len(run.tokens), run.parts.arch.d_model))
    stream[run.last, run.parts.kept[FINAL_RESID]] = run.direction
    return stream


def back(run: PromptRun, part: Part, after: Stream) -> Back:
    """Through a part, from what it writes to what it reads."""
    parts, write = run.parts, part.site("resid_delta")
    at_write = after[:, parts.kept[write]]
    sites, tokens = {write: at_write}, np.zeros(len(run.tokens))
    if part.head is None:
        inner = part.site("post_act")
        sites[inner] = (at_write * run.slopes[write]) @ parts.between(write)
    else:
        inner = part.site("v")
        sites[inner] = np.zeros_like(run.changes[inner])
        chosen = parts.of_head(part.head, inner)
        before = (at_write * run.slopes[write]) @ parts.between(write)[:, chosen]
        sites[inner][:, chosen] = run.pattern(part.layer, part.head).T @ before
        tokens = _by_token(run, part, at_write * run.slopes[write])
    read = part.site("act_in")
    sites[read] = (sites[inner] * run.slopes[inner]) @ parts.between(inner)
    stream, channels = np.zeros_like(after), run.stream_channels(read)
    n = len(channels)
    at_read = sites[read][:, :n] * run.slopes[read][:, :n]
    stream[:, channels] = at_read * run.gains(read)
    by_token, by_position = from_inputs(run, read, at_read)
    beside = (sites[read][:, n:] * run.changes[read][:, n:]).sum(1)
    return Back(
        sites=sites, stream=stream, tokens=tokens + by_token, positions=by_position + beside
    )


def _by_token(run: PromptRun, part: Part, after: Array) -> Float[Array, " seq"]:
    """What a head adds by turning to tokens goes to those, by turning away to the one it is at."""
    by_query = (run.looked(part) * after).sum(1)
    attention = run.pattern(part.layer, part.head or 0)
    share = attention / attention.sum(1, keepdims=True).clip(min=1e-12)
    away = run.turned(part) < 0
    return np.where(away, 0.0, by_query) @ share + np.where(away, by_query, 0.0)


class Inputs(NamedTuple):
    """What every token and every learned position adds through a read."""

    tokens: Float[Array, " seq"]
    positions: Float[Array, " seq"]


def from_inputs(run: PromptRun, read: Site, at: Float[Array, "seq stream"]) -> Inputs:
    """What tokens and positions add, given how much each kept channel of the stream does."""
    added = run.added(read)
    return Inputs((added[..., 0] * at).sum(1), (added[..., 1] * at).sum(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forth:
    """What reaches a part: by kept channel of each site, and what it writes to the stream."""

    sites: dict[Site, Float[Array, "seq kept"]]
    stream: Stream


def forth(run: PromptRun, part: Part, reached: Stream, at: Array | None, kind: str) -> Forth:
    """Through a part, from what it reads to what it writes.

    ``at`` marks the positions that a path begins at, where this part is its first.
    """
    parts, read, write = run.parts, part.site("act_in"), part.site("resid_delta")
    channels = run.stream_channels(read)
    n = len(channels)
    a = np.zeros_like(run.changes[read])
    a[:, :n] = reached[:, channels] * run.gains(read)
    if at is not None:
        a[:, :n] = run.added(read)[..., 0 if kind == "token" else 1] * at[:, None]
        a[:, n:] = run.changes[read][:, n:] * at[:, None] * (kind == "position")
    a[:, :n] *= run.slopes[read][:, :n]
    inner = part.site("post_act" if part.head is None else "v")
    x = (a @ parts.between(inner).T) * run.slopes[inner]
    mixed = x
    if part.head is not None:
        others = np.setdiff1d(np.arange(x.shape[1]), parts.of_head(part.head, inner))
        x[:, others] = 0.0
        mixed = run.pattern(part.layer, part.head) @ x
    written = mixed @ parts.between(write).T
    if at is not None and part.head is not None and kind == "token":
        written = written + run.looked(part) * _looking(run, part, at)[:, None]
    written = written * run.slopes[write]
    stream = np.zeros_like(reached)
    stream[:, parts.kept[write]] = written
    return Forth(sites={read: a, inner: x, write: written}, stream=stream)


def _looking(run: PromptRun, part: Part, at: Array) -> Float[Array, " seq"]:
    """The share of what a head adds by turning to or away that goes to these positions."""
    attention = run.pattern(part.layer, part.head or 0)
    share = attention @ at / attention.sum(1).clip(min=1e-12)
    return np.where(run.turned(part) < 0, at, share)
