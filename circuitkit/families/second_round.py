"""Which families are searched again, as a file: a search that is resumed keeps to it.

In: a hash of all that the searches depend on. Out: the families by name, if they are of these
searches. Without it, one that was searched again would be searched as in the first round first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from circuitkit.errors import CircuitError
from circuitkit.files import read_text, remove, write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondRound:
    """The file, None to keep none, and the hash that it has to hold."""

    path: Path | None
    key: str

    def read(self) -> tuple[str, ...] | None:
        """The families by name; None where it is not decided."""
        if self.path is None or not self.path.exists():
            return None
        try:
            found = json.loads(read_text(self.path, CircuitError, "the families searched again"))
        except ValueError:
            return None
        if not (isinstance(found, dict) and found.get("key") == self.key):
            return None
        return tuple(map(str, found.get("again", ())))

    def keep(self, again: Sequence[str]) -> None:
        """Write it; where no family is searched again there is no file."""
        if self.path is None:
            return
        if again:
            write_whole(self.path, json.dumps({"key": self.key, "again": again}) + "\n")
        else:
            remove(self.path)
