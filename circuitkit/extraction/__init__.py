"""Extraction: means, mask learning, discretisation, elimination, edges, one scoring."""

from circuitkit.extraction.edges import edges_between
from circuitkit.extraction.extract import ExtractConfig, Extraction, extract, run_extraction
from circuitkit.extraction.learn import PruningConfig, learn_masks
from circuitkit.extraction.means import Means, measure_means, zero_means
from circuitkit.extraction.score import four_differences

__all__ = [
    "ExtractConfig",
    "Extraction",
    "Means",
    "PruningConfig",
    "edges_between",
    "extract",
    "four_differences",
    "learn_masks",
    "measure_means",
    "run_extraction",
    "zero_means",
]
