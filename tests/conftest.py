"""For all tests: one thread, Ctrl-C, shape annotations that are executed, and a second device.

The import hook comes first: it checks only modules that are imported after it. The device is there
before the first backward pass, at which torch makes a thread for every device that it knows.
"""

import signal

from checked_shapes import check_shapes_of

CHECKED = ("model", "checkpoints", "compiled", "training", "extraction")
check_shapes_of([f"circuitkit.{room}" for room in CHECKED])

import pytest  # noqa: E402
import torch  # noqa: E402
from hypothesis import settings  # noqa: E402
from second_device import registered  # noqa: E402

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" has it ignored
torch.set_num_threads(1)
registered()
settings.register_profile("circuitkit", deadline=None, derandomize=True, database=None)
settings.register_profile("any_seed", deadline=None, database=None)  # for benchmarks/fuzz.py
settings.load_profile("circuitkit")


@pytest.fixture(autouse=True)
def one_thread():
    """Whatever a test sets is undone behind it: a module's fixtures run before those of a test."""
    yield
    torch.set_num_threads(1)
