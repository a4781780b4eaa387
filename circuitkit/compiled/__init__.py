"""A circuit as a small exact program: equal to the masked model, at the cost of the kept nodes."""

from circuitkit.compiled.distinct_prompts import Prompts
from circuitkit.compiled.folded_model import FoldedModel
from circuitkit.compiled.program import CompiledCircuit, compile, compile_circuit

__all__ = ["CompiledCircuit", "FoldedModel", "Prompts", "compile", "compile_circuit"]
