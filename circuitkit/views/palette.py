"""Colours of every picture: hues that colour-blind readers can tell apart (Okabe and Ito, 2008)."""

from circuitkit.nodes import Site

POSITIVE = "#0072B2"
NEGATIVE = "#D55E00"
STREAM = "#B4B4B4"
INK = "#333333"
FAINT = "#8A8A8A"

FILLS = {
    "read": "#E6E6E6",
    "q": "#FBE3A6",
    "k": "#F3CBDD",
    "v": "#C9E7F7",
    "neuron": "#CDEBDD",
    "write": "#FFFFFF",
}
"""One tint for each kind of node."""

KINDS = {
    "act_in": "read",
    "final_resid": "read",
    "q": "q",
    "k": "k",
    "v": "v",
    "post_act": "neuron",
    "resid_delta": "write",
}
"""What a node does, by the place of its site."""


def kind_of(site: Site) -> str:
    """What the nodes of a site do: ``read``, ``q``, ``k``, ``v``, ``neuron`` or ``write``."""
    return KINDS[site.place]


def sign_colour(value: float) -> str:
    """Blue for what adds, vermilion for what takes away."""
    return POSITIVE if value >= 0 else NEGATIVE
