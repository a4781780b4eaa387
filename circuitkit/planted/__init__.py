"""Models whose circuits are known: wired by hand, their smallest circuits found by brute force."""

from circuitkit.planted.catalogue import plant, planted_names
from circuitkit.planted.gpt2_folder import save_gpt2
from circuitkit.planted.planted_model import Planted, truth_of
from circuitkit.planted.truth import Truth, find_truth
from circuitkit.planted.truth_json import TruthFile, load_truth

__all__ = [
    "Planted", "Truth", "TruthFile", "find_truth", "load_truth", "plant", "planted_names",
    "save_gpt2", "truth_of",
]  # fmt: skip
