"""Extraction: means, mask learning, discretisation, elimination, edges, one scoring."""

from circuitkit.extraction.attribute import attribute, shuffled
from circuitkit.extraction.config import ExtractConfig
from circuitkit.extraction.cut import cut_model
from circuitkit.extraction.discretise import bisect_scores, discretise
from circuitkit.extraction.edges import edges_between
from circuitkit.extraction.eliminate import eliminate
from circuitkit.extraction.extract import Extraction, extract, run_extraction
from circuitkit.extraction.judge import Judge
from circuitkit.extraction.learn import PAPER, PruningConfig, learn_masks
from circuitkit.extraction.means import Means, measure_means, zero_means
from circuitkit.extraction.neighbours import explore
from circuitkit.extraction.partial import Partial
from circuitkit.extraction.score import four_differences

__all__ = [
    "PAPER",
    "ExtractConfig",
    "Extraction",
    "Judge",
    "Means",
    "Partial",
    "PruningConfig",
    "attribute",
    "bisect_scores",
    "cut_model",
    "discretise",
    "edges_between",
    "eliminate",
    "explore",
    "extract",
    "four_differences",
    "learn_masks",
    "measure_means",
    "run_extraction",
    "shuffled",
    "zero_means",
]
