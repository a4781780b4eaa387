"""Extraction: means, mask learning, discretisation, elimination, edges, one scoring."""

from circuitkit.extraction.attribution import attribute, shuffled
from circuitkit.extraction.circuit_record import Extraction
from circuitkit.extraction.criterion import Criterion
from circuitkit.extraction.discretise import bisect_scores, discretise
from circuitkit.extraction.edge_pruning import cut_model
from circuitkit.extraction.elimination import eliminate
from circuitkit.extraction.extract import extract, run_extraction
from circuitkit.extraction.extract_config import ExtractConfig
from circuitkit.extraction.import_circuit import import_circuit
from circuitkit.extraction.induced_edges import edges_between
from circuitkit.extraction.local_search import explore
from circuitkit.extraction.mask_learning import PAPER, PruningConfig, learn_masks
from circuitkit.extraction.means import Means, measure_means, zero_means
from circuitkit.extraction.resume import SavedSearch
from circuitkit.extraction.scoring import four_differences

__all__ = [
    "PAPER",
    "Criterion",
    "ExtractConfig",
    "Extraction",
    "Means",
    "PruningConfig",
    "SavedSearch",
    "attribute",
    "bisect_scores",
    "cut_model",
    "discretise",
    "edges_between",
    "eliminate",
    "explore",
    "extract",
    "four_differences",
    "import_circuit",
    "learn_masks",
    "measure_means",
    "run_extraction",
    "shuffled",
    "zero_means",
]
