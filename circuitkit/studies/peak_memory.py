"""The largest resident memory of this process since it was last asked.

Linux can start the count anew; elsewhere it is the largest since the process began.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def start_counting() -> None:
    """Forget the largest so far, where the system can.

    What was freed before is given back first: glibc keeps most of it for itself.
    """
    with suppress(OSError, AttributeError, TypeError):  # a C library without it; Windows
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _CLEAR.write_text("5")


def peak_bytes() -> int | None:
    """The largest so far; None where the system does not say."""
    with suppress(OSError, ValueError, IndexError, StopIteration), _STATUS.open() as lines:
        return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) * 1024
    return _from_getrusage()


def _from_getrusage() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024
