"""Checkpoints: a folder in, a strict and hashed ``Checkpoint`` out, and back."""

from circuitkit.checkpoints.bundled import bundled_checkpoints, find_checkpoint
from circuitkit.checkpoints.checkpoint import Checkpoint, load_checkpoint
from circuitkit.checkpoints.convert import convert_checkpoint
from circuitkit.checkpoints.native import save_checkpoint

__all__ = [
    "Checkpoint",
    "bundled_checkpoints",
    "convert_checkpoint",
    "find_checkpoint",
    "load_checkpoint",
    "save_checkpoint",
]
