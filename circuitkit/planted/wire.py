"""Where every plan begins: an empty model of the architecture that its variation asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from circuitkit.planted.gpt2_wiring import GPT2Variation, GPT2Wiring
from circuitkit.planted.variation import Variation
from circuitkit.planted.wiring import Wiring


def wire(variation: Variation, cues: Sequence[str], **options: Any) -> Wiring:
    """Start a model whose vocabulary holds fillers and ``cues``; options as of ``Wiring``.

    Raises:
        UsageError: if the architecture has not what an option asks for.
    """
    kind = GPT2Wiring if isinstance(variation, GPT2Variation) else Wiring
    return kind(variation, cues, **options)
