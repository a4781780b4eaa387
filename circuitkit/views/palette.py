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

HUES = (
    "#8CC3E6", "#F3C26B", "#7FCBB0", "#EBA98A", "#D9A6C4", "#F3E98A",
    "#A9B7D9", "#C9D68A", "#E0B7A0", "#A0D8D8", "#CFC0E8", "#D6C9A8",
)  # fmt: skip
"""Of families of prompts, which are twelve at most; light enough for names."""

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
