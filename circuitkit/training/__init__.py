"""Make a weight-sparse checkpoint: a configuration in, a checkpoint folder out."""

from circuitkit.training.devices import first_process
from circuitkit.training.train_config import TrainingConfig, load_config, shipped_configs
from circuitkit.training.trainer import Progress, train

__all__ = ["Progress", "TrainingConfig", "first_process", "load_config", "shipped_configs", "train"]
