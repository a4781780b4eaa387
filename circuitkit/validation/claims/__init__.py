"""Claims: one file each, the default and the thorough suite alike.

A file declares the claim in ``CLAIM`` and tests it in ``check_NAME``, named after the file.
To add a claim, add a file: it is found by being here. Definitions and limits:
docs/validation.md.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from circuitkit.findings import suite_order
from circuitkit.validation.claim_test import ClaimTest, Suite


@cache
def claims_of(suite: Suite) -> dict[str, ClaimTest]:
    """The claims of a suite by id: the documented ones in their order, then others by name."""
    found = (_claim_in(module.name) for module in iter_modules(__path__))
    chosen = [claim for claim in found if claim.declared.suite == suite]
    chosen.sort(key=lambda claim: suite_order(claim.declared.id))
    return {claim.declared.id: claim for claim in chosen}


def _claim_in(name: str) -> ClaimTest:
    module = import_module(f"{__name__}.{name}")
    return ClaimTest(declared=module.CLAIM, check=getattr(module, f"check_{name}"))
