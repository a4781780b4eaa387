"""Models whose circuits are known: wired by hand, their smallest circuits found by brute force."""

from circuitkit.planted.catalogue import plant, planted_names
from circuitkit.planted.planted_model import Planted, truth_of
from circuitkit.planted.truth import Truth, find_truth

__all__ = ["Planted", "Truth", "find_truth", "plant", "planted_names", "truth_of"]
