"""How a noun shows itself: by a view, which it does not know but by name.

In: ``"notebook.task_html"``. Out: that function of ``circuitkit.views``, imported when a noun is
first shown.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def view(where: str) -> Callable[..., Any]:
    """The function of that module."""
    module, name = where.split(".")
    return getattr(import_module(f"circuitkit.views.{module}"), name)
