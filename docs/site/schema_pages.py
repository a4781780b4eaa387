"""The page of file formats: a table of fields for each, and its JSON schema as a file.

A format is a pydantic model of the package with a ``format`` field.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

import circuitkit

HEAD = """\
# File formats

The formats of circuitkit's files, by the name in their field `format`. Unknown fields are refused.
Each has a JSON schema (draft 2020-12), made from the class that reads the file. What the folders
hold is in [commands.md](commands.md#the-circuit-folder) and
[checkpoints.md](checkpoints.md#a-model-of-your-own); checkpoints of others are in
[formats.md](formats.md), and what may change in [deprecation.md](deprecation.md).
"""


def formats() -> dict[str, type[BaseModel]]:
    """Each format by its name, such as ``circuitkit.circuit/1``."""
    found = {}
    for part in pkgutil.walk_packages(circuitkit.__path__, "circuitkit."):
        if part.name.endswith("__main__"):
            continue
        for model in vars(importlib.import_module(part.name)).values():
            if (
                inspect.isclass(model)
                and issubclass(model, BaseModel)
                and "format" in model.model_fields
            ):
                for name in get_args(model.model_fields["format"].annotation):
                    if str(name).startswith("circuitkit."):
                        found[name] = model
    return dict(sorted(found.items()))


def file_name(name: str) -> str:
    """Of the schema of a format."""
    return f"schemas/{name.removeprefix('circuitkit.').replace('/', '-')}.schema.json"


def pages() -> dict[str, str]:
    """The page, and a file for each schema."""
    parts, made = [HEAD], {}
    for name, model in formats().items():
        schema = model.model_json_schema(mode="validation")
        made[file_name(name)] = json.dumps(schema, indent=1, sort_keys=True) + "\n"
        parts += [f"## {name}", "", _about(model), "", f"[JSON schema]({file_name(name)})", ""]
        parts += ["| field | type | |", "|---|---|---|", *_rows(schema), ""]
    return {"file-formats.md": "\n".join(parts)} | made


def _about(model: type[BaseModel]) -> str:
    """The first paragraph of the class's own docstring."""
    own = inspect.cleandoc(vars(model).get("__doc__") or "")
    return own.partition("\n\n")[0].replace("``", "`")


def _rows(schema: dict[str, Any]) -> Iterator[str]:
    """A row a field."""
    for name, field in schema["properties"].items():
        absent = "required" if name in schema.get("required", []) else _default(field)
        yield f"| `{name}` | {_type(field)} | {absent} |"


def _type(field: dict[str, Any]) -> str:
    """A field's type in a few words."""
    if "$ref" in field:
        return f"`{field['$ref'].rpartition('/')[2]}`"
    if "const" in field or "enum" in field:
        return ", ".join(f"`{each}`" for each in field.get("enum", [field.get("const")]))
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(map(_type, field["anyOf"])))
    if field.get("type") == "array" and "items" in field:
        return f"list of {_type(field['items'])}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map to {_type(field['additionalProperties'])}"
    return str(field.get("type", "any value"))


def _default(field: dict[str, Any]) -> str:
    return f"`{json.dumps(field['default'])}` if absent" if "default" in field else "may be absent"
