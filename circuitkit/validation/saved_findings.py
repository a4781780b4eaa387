"""Findings saved as each is made, so that a long suite can be resumed.

In: a file, and hashes over everything that the findings depend on. Out: the findings of an
earlier run of the same inputs, and the searches of the claim that it was stopped at. The file is
whole or absent at every moment. One of other inputs, or one that cannot be read, is overwritten.
Where only the circuits of other tasks are others, the findings about them alone are made anew.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from circuitkit.errors import CircuitError
from circuitkit.files import read_text, write_whole
from circuitkit.findings import Finding
from circuitkit.provenance import STRICT

FORMAT = "circuitkit.thorough/1"


class Searched(BaseModel):
    """What a search for a null problem found: edges and nodes, or None if it missed the target."""

    model_config = STRICT
    kind: str
    size: tuple[int, int] | None
    n_questions: int
    forward_passes: int


class _File(BaseModel):
    model_config = STRICT
    format: Literal["circuitkit.thorough/1"] = FORMAT
    inputs_sha256: str
    others_sha256: str = ""
    findings: tuple[Finding, ...] = ()
    searches: tuple[Searched, ...] = ()


class SavedFindings:
    """The findings of one suite over one set of inputs; without a file none is saved.

    ``searches`` are those of ``search_null``, the one claim that takes an hour; ``of_others`` are
    the claims that depend on the circuits of other tasks too.
    """

    def __init__(
        self, path: Path | None, inputs_sha256: str, others_sha256: str = "",
        of_others: Collection[str] = (),
    ) -> None:  # fmt: skip
        self.path, self.inputs_sha256, self.others_sha256 = path, inputs_sha256, others_sha256
        file = self._read()
        lost = () if file.others_sha256 == others_sha256 else of_others
        known = (finding for finding in file.findings if finding.claim not in lost)
        self.findings: dict[str, Finding] = {finding.claim: finding for finding in known}
        self.searches = list(file.searches)

    def _read(self) -> _File:
        nothing = _File(inputs_sha256=self.inputs_sha256)
        if self.path is None or not self.path.exists():
            return nothing
        try:
            file = _File.model_validate_json(read_text(self.path, CircuitError, "findings"))
        except (CircuitError, ValidationError):
            return nothing
        return file if file.inputs_sha256 == self.inputs_sha256 else nothing

    def add(self, finding: Finding) -> None:
        """Keep a finding, on disk too.

        Raises:
            UsageError: if the folder cannot be written to.
        """
        self.findings[finding.claim] = finding
        self._write()

    def add_search(self, found: Searched) -> None:
        """Keep what a search found, if there is a file to keep it in.

        Raises:
            UsageError: if the folder cannot be written to.
        """
        if self.path is not None:
            self.searches.append(found)
            self._write()

    def _write(self) -> None:
        if self.path is not None:
            file = _File(
                inputs_sha256=self.inputs_sha256,
                others_sha256=self.others_sha256,
                findings=tuple(self.findings.values()),
                searches=tuple(self.searches),
            )
            write_whole(self.path, file.model_dump_json(indent=1) + "\n")
