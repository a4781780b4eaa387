"""Findings saved as each is made, so that a long suite can be resumed.

In: a file, and a hash over everything that the findings depend on. Out: the findings of an
earlier run of the same inputs. The file is whole or absent at every moment. One of other inputs,
or one that cannot be read, is overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from circuitkit.errors import CircuitError
from circuitkit.files import read_text, write_whole
from circuitkit.findings import Finding
from circuitkit.provenance import STRICT

FORMAT = "circuitkit.thorough/1"


class _File(BaseModel):
    model_config = STRICT
    format: Literal["circuitkit.thorough/1"] = FORMAT
    inputs_sha256: str
    findings: tuple[Finding, ...]


class SavedFindings:
    """The findings of one suite over one set of inputs; without a file none is saved."""

    def __init__(self, path: Path | None, inputs_sha256: str) -> None:
        self.path, self.inputs_sha256 = path, inputs_sha256
        self.findings: dict[str, Finding] = {f.claim: f for f in self._read()}

    def _read(self) -> Sequence[Finding]:
        if self.path is None or not self.path.exists():
            return ()
        try:
            file = _File.model_validate_json(read_text(self.path, CircuitError, "findings"))
        except (CircuitError, ValidationError):
            return ()
        return file.findings if file.inputs_sha256 == self.inputs_sha256 else ()

    def add(self, finding: Finding) -> None:
        """Keep a finding, on disk too.

        Raises:
            UsageError: if the folder cannot be written to.
        """
        self.findings[finding.claim] = finding
        if self.path is not None:
            file = _File(inputs_sha256=self.inputs_sha256, findings=tuple(self.findings.values()))
            write_whole(self.path, file.model_dump_json(indent=1) + "\n")
