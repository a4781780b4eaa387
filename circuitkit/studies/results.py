"""The results of a study on disk: a folder that can be killed at any moment and gone on with.

``study.json`` says which study it is, ``cells/HASH/row.json`` is written last in a cell's
folder, so that a cell is there as a whole or not at all; ``results.parquet`` is made of the
rows in the order of the study's cells, whatever the order in which they ended. No torch.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitkit.distribution import installed_version
from circuitkit.errors import UsageError
from circuitkit.files import (
    as_path,
    claim_folder,
    read_bounded,
    read_text,
    remove,
    remove_left,
    write_whole,
)
from circuitkit.studies.result_columns import COLUMNS, FORMAT, MEASURED, Row
from circuitkit.studies.study_toml import Study

if TYPE_CHECKING:
    import pandas as pd

    from circuitkit.studies.cells import Cell

STUDY, RESULTS, ROW = "study.json", "results.parquet", "row.json"
PAGE, PDF = "index.html", "study.pdf"
ROW_FORMAT = "circuitkit.row/1"
_EXPECTED = "a folder made by 'circuitkit study'"
_MAX_BYTES = 4 * 2**30


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The folder of a study."""

    path: Path

    @classmethod
    def claim(cls, out: str | Path, study: Study, *, resume: bool) -> StudyFolder:
        """A folder to run a study in: new, empty, or that of this study to go on with.

        Raises:
            UsageError: if it holds something else, another study, one of another version, or a
                study and ``resume`` is off.
        """
        folder = cls(as_path(out))
        claim_folder(folder.path, STUDY, "a study")
        is_begun = (folder.path / STUDY).exists()
        before = folder._check_is(study, resume=resume) if is_begun else None
        about = {
            "format": FORMAT,
            "circuitkit_version": installed_version(),
            "study": study.model_dump(mode="json", by_alias=True),
        }
        if before not in (None, about):  # of the study as it was
            for name in (RESULTS, PAGE, PDF):
                remove(folder.path / name)
        write_whole(folder.path / STUDY, json.dumps(about, indent=1) + "\n")
        remove_left(folder.path.glob("**/.*.part"))
        return folder

    @property
    def about(self) -> dict[str, Any]:
        """What ``study.json`` says.

        Raises:
            UsageError: if it is missing, damaged or of another version's format.
        """
        about = _json(self.path / STUDY)
        if (got := about.get("format")) != FORMAT:
            raise UsageError(
                f"{self.path / STUDY} has format {got!r}, expected {FORMAT!r}: it was made by "
                "another version of circuitkit. Run the study anew in another --out."
            )
        return about

    def _check_is(self, study: Study, *, resume: bool) -> dict[str, Any]:
        """What ``study.json`` says, if it is of this study and version."""
        if not resume:
            raise UsageError(
                f"{self.path} holds a study already; add --resume to go on with it, or choose "
                "another --out."
            )
        about = self.about
        name = (about.get("study") or {}).get("name")
        if name != study.name:
            raise UsageError(
                f"{self.path} holds the study {name!r}, not {study.name!r}. Choose another --out."
            )
        if (made_by := about.get("circuitkit_version")) != installed_version():
            raise UsageError(
                f"{self.path} was made by circuitkit {made_by}, this is {installed_version()}: "
                "results of two versions are not mixed. Choose another --out."
            )
        return about

    def cell(self, sha256: str) -> Path:
        """The folder of a cell: a circuit's, or a checkpoint's."""
        return self.path / "cells" / sha256

    def work(self, sha256: str) -> Path:
        """Where a cell works until it is done."""
        return self.path / "work" / sha256

    def rows(self, sha256: str) -> list[Row] | None:
        """The rows of a cell; None if it is not there as a whole."""
        path = self.cell(sha256) / ROW
        if not path.exists():
            return None
        found = _json(path)
        is_whole = found.get("format") == ROW_FORMAT and found.get("cell") == sha256
        rows = found.get("rows") if is_whole else None
        is_list = isinstance(rows, list) and all(isinstance(row, dict) for row in rows)
        return rows if rows and is_list else None

    def is_done(self, sha256: str) -> bool:
        """Whether a cell need not be run again: it is there, and is no error."""
        rows = self.rows(sha256)
        return rows is not None and all(row.get("outcome", "error") != "error" for row in rows)

    def keep(self, sha256: str, rows: Iterable[Row], files: Mapping[str, bytes]) -> None:
        """Write what a cell left, its rows last.

        Raises:
            UsageError: if it cannot be written.
        """
        folder = self.cell(sha256)
        shutil.rmtree(folder, ignore_errors=True)
        for name, data in files.items():
            write_whole(folder / name, data)
        text = json.dumps({"format": ROW_FORMAT, "cell": sha256, "rows": list(rows)}, indent=1)
        write_whole(folder / ROW, text + "\n")

    def write_results(self, cells: Iterable[Cell]) -> pd.DataFrame:
        """Write ``results.parquet`` from the rows of these cells, in their order.

        Checkpoints and tasks have the names of now: a study that grew may tell them apart.

        Raises:
            UsageError: if it cannot be written.
        """
        frame = frame_of(row | cell.names for cell in cells for row in self.rows(cell.sha256) or ())
        write_whole(self.path / RESULTS, to_parquet(frame))
        return frame


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(path, UsageError, _EXPECTED))
    except ValueError as error:
        todo = "Run the study in another --out" if path.name == STUDY else "Delete it, and --resume"
        raise UsageError(f"{path} is not JSON: {error}. {todo}.") from None
    return found if isinstance(found, dict) else {}


def frame_of(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a table whose columns have their declared types; what is missing is NA."""
    import pandas as pd

    types = {"string": "string", "int64": "Int64", "float64": "Float64", "bool": "boolean"}
    frame = pd.DataFrame(list(rows), columns=pd.Index([column.name for column in COLUMNS]))
    return frame.astype({column.name: types[column.type] for column in COLUMNS})


def to_parquet(frame: pd.DataFrame) -> bytes:
    """A table as Parquet: the same table, the same bytes. Units and the format ride in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }
    fields = [
        pa.field(c.name, types[c.type], metadata={"unit": c.unit, "about": c.about})
        for c in COLUMNS
    ]
    schema = pa.schema(fields, metadata={"format": FORMAT})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
                   .replace_schema_metadata(schema.metadata), buffer)  # fmt: skip
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class StudyResults:
    """A study that was run: its folder and its table, one row a cell and rung.

    Examples:
        >>> import circuitkit as ck
        >>> results = ck.load_results("out/study")
        >>> "n_edges" in results.frame.columns, results.n_errors
        (True, 0)
    """

    path: Path
    frame: pd.DataFrame

    @property
    def n_errors(self) -> int:
        """Rows of cells that failed."""
        return list(self.frame["outcome"]).count("error")

    @property
    def repeatable(self) -> pd.DataFrame:
        """The table without what differs between two runs: seconds and memory."""
        return self.frame.drop(columns=list(MEASURED))


def load_results(path: str | Path) -> StudyResults:
    """Read the results of a study: its folder, or a ``results.parquet``.

    Raises:
        UsageError: if there is none, or it is of another version's format.

    Examples:
        >>> import circuitkit as ck
        >>> results = ck.load_results("out/study")
        >>> len(results.frame), list(results.frame["outcome"])
        (1, ['target_met'])
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    given = as_path(path)
    file = given / RESULTS if given.is_dir() else given
    data = read_bounded(file, UsageError, f"the results of a study ({RESULTS})", limit=_MAX_BYTES)
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not Parquet: {error}. Run the study again.") from None
    got = (table.schema.metadata or {}).get(b"format", b"").decode(errors="replace")
    names = [column.name for column in COLUMNS]
    if got != FORMAT or table.column_names != names:
        raise UsageError(
            f"{file} has format {got or 'unknown'!r}, expected {FORMAT!r} with {len(names)} "
            "columns: it was made by another version of circuitkit. Run the study again."
        )
    return StudyResults(file.parent, frame_of(table.to_pylist()))
