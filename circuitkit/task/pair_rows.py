"""Files of pairs: a CSV or a JSONL goes in, one checked row a pair comes out, or an error.

A row that has not the form of a pair is an error with its line. One that has, but asks nothing
(the same answer twice, an empty prompt), is read: whoever makes pairs of rows counts those.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from circuitkit.errors import TaskError
from circuitkit.provenance import STRICT, each_key_once
from circuitkit.task.columns import PAIR_NAMES, is_family, parts_of
from circuitkit.task.formats import decode, invalid
from circuitkit.task.pairs import Pair, Prompt, Split, check_encodable, naming_place

MAX_BYTES = 2**24
MAX_PAIRS = 50_000

TokenId = Annotated[int, Field(ge=0)]


class _Side(BaseModel):
    model_config = STRICT
    prompt: str | list[TokenId]
    answer: str | TokenId

    def read(self) -> Prompt:
        if isinstance(self.prompt, str):
            return Prompt(text=self.prompt, answer=self.answer)
        return Prompt(tokens=tuple(self.prompt), answer=self.answer)


class _Fields(BaseModel):
    model_config = STRICT
    a: _Side
    b: _Side
    template: str | None = None
    split: Split | None = None
    families: dict[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as it is written; ``where`` names file and line."""

    line: int
    where: str
    fields: _Fields

    @property
    def template(self) -> str | None:
        """As the file gives it, without the blanks around it."""
        return None if self.fields.template is None else self.fields.template.strip()

    @property
    def split(self) -> Split | None:
        """As the file gives it."""
        return self.fields.split

    @property
    def families(self) -> tuple[tuple[str, str], ...]:
        """By column the family that the file gives, without the blanks around it."""
        return tuple((column, name.strip()) for column, name in self.fields.families.items())

    def pair(self, template: str = "") -> Pair:
        """The pair of the row.

        Raises:
            PairError: if it asks nothing, without the place.
            TaskError: if it is text on one side and token ids on the other, likewise.
        """
        a, b = self.fields.a.read(), self.fields.b.read()
        return Pair(
            a=a, b=b, template=template, families=self.families, written=f"{self.where}: ",
            line=self.line,
        )  # fmt: skip


def read_rows(data: bytes, path: Path) -> list[Row]:
    """The rows of a file, by how its name ends.

    Raises:
        TaskError: if it is not such a file, or holds too many rows, or none.
    """
    is_csv = path.suffix.lower() == ".csv"
    parse = _csv_rows if is_csv else _json_rows
    rows: list[Row] = []
    for row in parse(decode(data, path), path):
        rows.append(row)
        if len(rows) > MAX_PAIRS:
            raise TaskError(
                f"{path}: more than {MAX_PAIRS:,} pairs; expected at most that many. Give a "
                "sample of them: a search uses some two thousand."
            )
    if not rows:
        kind = "a header and one row" if is_csv else "one JSON object"
        raise TaskError(f"{path}: no pairs; expected {kind} a line")
    return rows


def _csv_rows(text: str, path: Path) -> Iterator[Row]:
    """Values stand as they are written: blanks, ``None`` and ``NA`` are text.

    Line ends of Windows, where the file has no others, are those of its editor: inside a value
    too they are read as line feeds.
    """
    if text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, strict=True)
    parts: dict[int, str] = {}
    names: list[str] = []
    while True:
        line = reader.line_num + 1
        where = f"{path}: line {line}"
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise TaskError(
                f"{where}: not CSV: {error}; expected commas between values, and quotes around "
                "those that hold commas, quotes or line breaks"
            ) from None
        if values is None:
            return
        if not values:
            continue
        if not names:
            names = values
            parts = _places(names, where)
        elif len(values) != len(names):
            raise TaskError(
                f"{where}: {len(values)} values, expected {len(names)}, one for each column: "
                'quote a value that holds a comma or a line break, "like, this"'
            )
        else:
            _refuse_late_quotes(values, "".join(lines[line - 1 : reader.line_num]), where)
            given = {part: values[i] for i, part in parts.items()}
            yield _row(_nested(given, where), line, where)


def _refuse_late_quotes(values: list[str], written: str, where: str) -> None:
    """Quotes after a blank quote nothing in CSV: they, and the blank, would be part of the text."""
    for value in values:
        late = re.fullmatch(r'\s+("[^"]*")\s*', value)
        if late and re.search(rf"(^|,){re.escape(value)}", written):
            raise TaskError(
                f"{where}: in {value[:60]!r} the quotes come after a blank, and would be part of "
                f"the text; expected {late[1][:60]} right behind the comma, or every quote doubled "
                "within quotes if they are meant"
            )


def _places(names: list[str], where: str) -> dict[int, str]:
    """Column → part. A table with other separators has one column."""
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        raise TaskError(f"{where}: one column, {names[0][:60]!r}; expected commas between columns")
    return {names.index(name): part for part, name in parts_of(names, where).items()}


def _nested(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The parts of a pair as the nested form of a line has them."""
    for key in ("template", "split"):
        if not str(given.get(key, key)).strip():
            raise TaskError(f"{where}: {key} is empty; give one in every row, or no such column")
    sides = {
        side: {key: given[f"{key}_{side}"] for key in ("prompt", "answer")} for side in ("a", "b")
    }
    kept = {key: given[key] for key in ("template", "split") if key in given}
    return {**sides, **kept, "families": _families(given, where)}


def _families(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What a row says of families, by column."""
    found: dict[str, Any] = {}
    for key in filter(is_family, given):
        if (name := key.strip().lower()) in found:
            raise TaskError(f"{where}: {key!r} comes twice, but for capitals and blanks; keep one")
        if not str(given[key]).strip():
            raise TaskError(f"{where}: {key} is empty; give one in every row, or no such column")
        found[name] = given[key]
    return found


def _json_rows(text: str, path: Path) -> Iterator[Row]:
    """Empty lines are skipped."""
    _refuse_array(text, path)
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}: line {number}"
            yield _row(_json_fields(line, where), number, where)


def _json_fields(line: str, where: str) -> Any:
    """A line in the nested form; one with the names of columns is brought into it."""
    try:
        found = json.loads(line, object_pairs_hook=each_key_once)
    except (ValueError, RecursionError) as error:
        raise TaskError(
            f"{where}: not JSON: {error}; expected one whole JSON object a line"
        ) from None
    if not isinstance(found, dict):
        return found
    if not PAIR_NAMES & {str(key).strip().lower() for key in found}:
        return _with_families(found, where)
    parts = parts_of(list(found), where, "keys")
    return _nested({part: found[name] for part, name in parts.items()}, where)


def _with_families(nested: dict[str, Any], where: str) -> dict[str, Any]:
    """A line in the nested form, what it says of families in one place."""
    if "families" in nested:
        raise TaskError(f"{where}: 'families' is not known; name each family_…, as a column")
    rest = {key: value for key, value in nested.items() if not is_family(key)}
    return {**rest, "families": _families(nested, where)}


def _row(fields: Any, line: int, where: str) -> Row:
    try:
        read = _Fields.model_validate(fields)
    except ValidationError as error:
        raise invalid(error, where) from None
    with naming_place(f"{where}: template"):
        check_encodable(read.template or "")
    return Row(line=line, where=where, fields=read)


def _refuse_array(text: str, path: Path) -> None:
    """All pairs in one JSON array, on one line or many, is the usual other way to write them."""
    if not re.match(r"\s*\[\s*(\{|\]|$)", text):
        return
    raise TaskError(
        f"{path}: a JSON array; expected one JSON object a line, without brackets and commas "
        f"around them. Convert it, for example with: jq -c '.[]' {path.name} > lines.jsonl"
    )
