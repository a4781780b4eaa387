"""A circuit as masks: for every site a boolean tensor of its width, true where the node is kept.

In: nodes with the widths of their model. Out: ``.safetensors``, and the same nodes back from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from circuitkit.circuit import Circuit
from circuitkit.errors import CircuitError
from circuitkit.files import regular_file
from circuitkit.nodes import NodeSet, Site

FORMAT = "circuitkit.mask/1"


def mask_bytes(circuit: Circuit, widths: Mapping[Site, int]) -> bytes:
    """The masks of a circuit; the same circuit gives the same bytes."""
    masks = {}
    for site, width in widths.items():
        masks[str(site)] = torch.zeros(width, dtype=torch.bool)
        masks[str(site)][list(circuit.nodes[site])] = True
    about = {
        "format": FORMAT, "circuit_sha256": circuit.sha256,
        "checkpoint_sha256": circuit.checkpoint.sha256,
    }  # fmt: skip
    # one key: safetensors writes several in an order of its own, and bytes must repeat
    return save(masks, {"circuitkit": json.dumps(about)})


def read_mask(path: str | Path) -> NodeSet:
    """The nodes of a file of masks, with the widths of their sites.

    Raises:
        CircuitError: if it is no such file.

    Examples:
        >>> import circuitkit as ck
        >>> path = ck.export("out/for_while", "out/mask.safetensors", format="mask")
        >>> ck.read_mask(path) == ck.Circuit.load("out/for_while").nodes
        True
    """
    path = Path(path)
    try:
        with safe_open(regular_file(path, CircuitError, "masks"), framework="pt") as file:
            masks = {Site.parse(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CircuitError(
            f"no such file: {path}; expected masks, made by 'circuitkit export --format mask'."
        ) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CircuitError(f"{path} holds no masks: {error}.") from None
    for site, mask in masks.items():
        if mask.dtype != torch.bool or mask.dim() != 1:
            kind = str(mask.dtype).removeprefix("torch.")
            raise CircuitError(
                f"{path}: {site} is {kind} {tuple(mask.shape)}, expected booleans, one a channel."
            )
    kept = {site: mask.nonzero()[:, 0].tolist() for site, mask in masks.items()}
    return NodeSet(kept, {site: len(mask) for site, mask in masks.items()})
