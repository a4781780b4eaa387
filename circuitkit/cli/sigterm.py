"""SIGTERM during a command: the same as Ctrl-C, so that what was done is saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[threading.Event]:
    """An event that is set once SIGTERM came; whatever Ctrl-C does at that moment, it does.

    Signals reach the main thread only; elsewhere the event is never set.
    """
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.set()
        ctrl_c = signal.getsignal(signal.SIGINT)
        if not callable(ctrl_c):  # ignored, as in a job in the background of a script
            ctrl_c = signal.default_int_handler
        ctrl_c(number, frame)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)
