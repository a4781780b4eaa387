"""A circuit as a small exact program: equal to the masked model, at the cost of what is kept."""

from circuitkit.compiled.foundation import Foundation
from circuitkit.compiled.program import CompiledCircuit, compile, compile_circuit
from circuitkit.compiled.prompts import Prompts

__all__ = ["CompiledCircuit", "Foundation", "Prompts", "compile", "compile_circuit"]
