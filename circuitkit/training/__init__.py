"""Make a weight-sparse checkpoint: a configuration in, a checkpoint folder out."""

from circuitkit.training.devices import first_process
from circuitkit.training.train_config import TrainingConfig, load_config, shipped_configs
from circuitkit.training.trainer import train
from circuitkit.training.training_progress import TrainingStep, shown_by

__all__ = [
    "TrainingConfig",
    "TrainingStep",
    "first_process",
    "load_config",
    "shipped_configs",
    "shown_by",
    "train",
]
