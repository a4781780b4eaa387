"""A circuit in the formats of others: a small NumPy program, graphs, masks."""

from circuitkit.exports.export import FORMATS, export
from circuitkit.exports.fold_circuit import fold_circuit
from circuitkit.exports.mask_file import read_mask

__all__ = ["FORMATS", "export", "fold_circuit", "read_mask"]
