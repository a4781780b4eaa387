"""Families of prompts: found, searched one by one, and compared by what each circuit does.

One task need not be one mechanism. In: a checkpoint and a task. Out: its families, a circuit of
each, what each circuit does on every other family, and the outcome. Source: ours
(docs/families.md); the question is that of Franco et al. 2026 (arXiv 2602.13483), Rai et al. 2026
(2605.09129) and Wu et al. 2026 (2606.16920).
"""

from circuitkit.families.by_family import extract_by_family
from circuitkit.families.find_families import find_families

__all__ = ["extract_by_family", "find_families"]
