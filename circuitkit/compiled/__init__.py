"""A circuit as a small exact program: equal to the masked model, at the cost of what is kept."""

from circuitkit.compiled.program import CompiledCircuit, compile_circuit

__all__ = ["CompiledCircuit", "compile_circuit"]
