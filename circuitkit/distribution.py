"""How this package is installed: the name that pip knows, its version, whether it is alone.

A package index has another project named circuitkit, with the same import name. Installed over
each other, one replaces or mixes the files of the other without a word. Importing this module
refuses that. It comes first and imports the standard library alone, since everything else may have
been replaced.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

DISTRIBUTION = "sparse-circuitkit"

NEEDS_TORCH = (
    f"this needs PyTorch, which is not installed: pip install '{DISTRIBUTION}[torch]'. Reading "
    "circuits, comparing them and writing reports need none."
)


def installed_version() -> str:
    """The installed version, or ``unknown`` when run from a bare source tree."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def check_unmixed(package: Path, other: str = "circuitkit") -> None:
    """Refuse to run where another distribution lists the package's own files as its own.

    Raises:
        ImportError: if it does: whose files these are is a matter of what was installed last.
    """
    try:
        found = distribution(other)
    except PackageNotFoundError:
        return
    first = f"{package.name}/__init__.py"
    listed = first in map(str, found.files or ())
    if listed and Path(str(found.locate_file(first))).resolve().parent == package.resolve():
        raise ImportError(
            f"{package} holds files of two distributions: {DISTRIBUTION}, and {other} "
            f"{found.version}, another project with the same import name. To part them: pip "
            f"uninstall {other} {DISTRIBUTION}, then pip install {DISTRIBUTION}; or give each an "
            "environment of its own."
        )


check_unmixed(Path(__file__).parent)
