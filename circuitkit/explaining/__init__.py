"""How a circuit comes to its answer: paths, roles, looks, contexts, examples."""

from circuitkit.explaining.explain import explain

__all__ = ["explain"]
