"""Laws of the rooms: who may import whom, what importing costs, what is never written here."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "circuitkit"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    {"displays", "distribution", "errors", "nodes", "progress"},
    {"arguments", "files"},
    {"provenance"},
    {"findings", "task"},
    {"circuit"},
    {"statistics"},
    {"model", "views"},
    {"corpora"},
    {"checkpoints"},
    {"compiled", "bridges"},
    {"explaining"},
    {"training", "extraction"},
    {"competence", "families"},
    {"validation", "planted"},
    {"exports", "studies"},
    {"cli"},
    {"__main__"},
)
"""A room imports from lower floors, and within itself."""

LIGHT = ("circuitkit", *(f"circuitkit.{noun}" for noun in ("nodes", "circuit", "task", "findings")))
HEAVY = ("torch", "safetensors", "tokenizers")


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module(path):
    return ".".join(["circuitkit", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
        ".__init__"
    )


def imports(path):
    """Every module or name that a file imports from the package."""
    for found in ast.walk(ast.parse(path.read_text())):
        if isinstance(found, ast.Import):
            yield from (name.name for name in found.names if name.name.startswith("circuitkit"))
        elif isinstance(found, ast.ImportFrom) and found.level:
            yield f"relative import in line {found.lineno}"
        elif isinstance(found, ast.ImportFrom) and found.module == "circuitkit":
            yield from (f"circuitkit.{name.name}" for name in found.names)
        elif isinstance(found, ast.ImportFrom) and (found.module or "").startswith("circuitkit."):
            yield found.module


def floor(name):
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


def test_every_room_has_a_floor():
    """A new one is put on its floor above, with thought."""
    rooms = {room(path) for path in FILES} - {"__init__"}
    assert rooms <= set().union(*FLOORS), "a room without a floor"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_file_imports_from_lower_floors_only(path):
    """Or from its own room. The package's own face may import anything."""
    if room(path) == "__init__":
        return
    here = room(path)
    for name in imports(path):
        there = name.split(".")[1]
        assert there == here or floor(there) < floor(here), f"{module(path)} imports {name}"


def test_views_stand_on_the_nouns_alone():
    """No engine, no checkpoint: a report can be drawn where neither is."""
    nouns = set().union(*FLOORS[: floor("model")])
    for path in (path for path in FILES if room(path) == "views"):
        rooms = {name.split(".")[1] for name in imports(path)} - {"views"}
        assert rooms <= nouns, module(path)


def imported_by(*modules):
    """What a fresh interpreter has loaded after importing these."""
    code = f"import sys, {', '.join(modules)}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_nouns_and_views_import_no_torch():
    """Importing circuitkit, a noun or any view costs no torch."""
    views = [module(path) for path in FILES if room(path) == "views"]
    loaded = imported_by(*LIGHT, *views)
    assert {*LIGHT, *views} <= loaded
    assert not loaded & set(HEAVY)


def test_the_check_for_torch_would_notice():
    """A planted failure: the engine does import torch."""
    assert "torch" in imported_by("circuitkit.model.architecture")


def names_of(paths):
    """What each file is called, and each room by its folder."""
    return [path.parent.name if path.stem == "__init__" else path.stem for path in paths]


def test_no_two_modules_share_a_name():
    """Nor does a module share one with a room: a name says where to look."""
    names = names_of(path for path in FILES if path.stem != "__main__")
    assert [name for name in sorted(set(names)) if names.count(name) > 1] == []


def test_the_check_for_names_would_notice():
    """A planted failure: two files of one name, and a file named as its room."""
    paths = [Path("a/trial.py"), Path("b/trial.py"), Path("c/__init__.py"), Path("c/c.py")]
    assert names_of(paths) == ["trial", "trial", "c", "c"]


def test_rooms_stand_at_the_top():
    """Beside them only the words that every room speaks."""
    top = {path.stem for path in FILES if path.parent == PACKAGE}
    words = {
        *(
            "arguments",
            "displays",
            "distribution",
            "errors",
            "files",
            "findings",
            "nodes",
            "progress",
            "provenance",
        ),
    }
    assert top == {"__init__", "__main__"} | words


def test_no_file_is_called_utils():
    """Every file has a duty to be named by."""
    assert not [
        module(path) for path in FILES if {"utils", "helpers", "misc", "common"} & {path.stem}
    ]


def calls(path):
    """The dotted name of everything that a file calls."""
    for found in ast.walk(ast.parse(path.read_text())):
        if isinstance(found, ast.Call):
            restricted = any(ast.unparse(k) == "weights_only=True" for k in found.keywords)
            yield ast.unparse(found.func) + (" restricted" if restricted else "")


FORBIDDEN = ("print", "torch.load", "eval", "exec", "np.load", "numpy.load", "os.system")


@pytest.mark.parametrize("path", FILES, ids=module)
def test_nothing_prints_or_unpickles(path):
    """The command line echoes, the library returns; no file is ever executed.

    One file asks torch for its restricted reader.
    """
    assert not set(calls(path)) & set(FORBIDDEN)
    reader = PACKAGE / "checkpoints" / "torch_file.py"
    assert path == reader or "torch.load restricted" not in set(calls(path))
    for found in ast.walk(ast.parse(path.read_text())):
        names = [
            alias.name for alias in getattr(found, "names", []) if isinstance(alias, ast.alias)
        ]
        names += [found.module or ""] if isinstance(found, ast.ImportFrom) else []
        assert not {"pickle", "marshal", "shelve", "joblib"} & {
            name.split(".")[0] for name in names
        }


def test_the_check_for_calls_would_notice(tmp_path):
    """A planted failure: a file that prints and loads a pickle."""
    (tmp_path / "bad.py").write_text("import torch\nprint(torch.load('x'))\n")
    assert set(calls(tmp_path / "bad.py")) == {"print", "torch.load"}
    (tmp_path / "bad.py").write_text("torch.load('x', weights_only=True)\n")
    assert set(calls(tmp_path / "bad.py")) == {"torch.load restricted"}


@pytest.mark.parametrize(
    "path", [path for path in FILES if "__all__" in path.read_text()], ids=module
)
def test_public_names_exist_and_are_sorted_out(path):
    """Every name of ``__all__`` is there, once."""
    found = importlib.import_module(module(path))
    assert len(set(found.__all__)) == len(found.__all__)
    assert [name for name in found.__all__ if not hasattr(found, name)] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.read_text().strip()], ids=module)
def test_every_file_says_what_it_is_for(path):
    """In a docstring at its top."""
    assert ast.get_docstring(ast.parse(path.read_text()))
