"""The page of file formats: a table of fields for each, and its JSON schema as a file.

A format is a pydantic model of the package with a ``format`` field.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from typing import Any, get_args

from pydantic import BaseModel

import circuitkit

HEAD = """\
# File formats

Every file that circuitkit writes says its format in its field `format`. The number after the slash goes up when
an older circuitkit could no longer read the file. Unknown fields are refused. Each format has a JSON schema
(draft 2020-12), made from the class that reads the file. What the folders hold is in
[commands.md](commands.md#the-circuit-folder) and [checkpoints.md](checkpoints.md#a-model-of-your-own); foreign
checkpoints are in [formats.md](formats.md).
"""


def formats() -> dict[str, type[BaseModel]]:
    """Each format by its name, such as ``circuitkit.circuit/1``."""
    found = {}
    for part in pkgutil.walk_packages(circuitkit.__path__, "circuitkit."):
        if part.name.endswith("__main__"):
            continue
        for model in vars(importlib.import_module(part.name)).values():
            if inspect.isclass(model) and issubclass(model, BaseModel) and "format" in model.model_fields:
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
        about = (inspect.getdoc(model) or "").partition("\n\n")[0]
        parts += [f"## {name}", "", about.replace("``", "`"), "", f"[JSON schema]({file_name(name)})", ""]
        parts += ["| field | type | |", "|---|---|---|"]
        required = schema.get("required", [])
        parts += [
            f"| `{field}` | {_type(about)} | {'required' if field in required else _default(about)} |"
            for field, about in schema["properties"].items()
        ]
        parts.append("")
    return {"file-formats.md": "\n".join(parts)} | made


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
