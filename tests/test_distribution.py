"""Laws of the installed package: its name, and that it is alone in its folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from circuitkit.distribution import DISTRIBUTION, check_unmixed

PACKAGE = Path(__file__).parents[1] / "circuitkit"
LIGHT = ("__init__.py", "distribution.py")


def record(site, *, lists):
    """The other project, made up: a distribution that lists these files as its own."""
    folder = site / "circuitkit-3.1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: circuitkit\nVersion: 3.1\n")
    (folder / "RECORD").write_text("".join(f"{name},,\n" for name in lists))


def imported(site):
    """What importing circuitkit from a folder prints on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", "import circuitkit"], check=False, capture_output=True, text=True,
        cwd=site, env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    return done.returncode, done.stderr


def test_two_distributions_in_one_folder_are_refused_in_one_message(tmp_path):
    """Before a file that may have been replaced is imported: here most of ours are not there."""
    (tmp_path / "circuitkit").mkdir()
    for name in LIGHT:
        shutil.copy(PACKAGE / name, tmp_path / "circuitkit" / name)
    record(tmp_path, lists=["circuitkit/__init__.py"])
    code, said = imported(tmp_path)
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.startswith("ImportError: ")]
    assert f"holds files of two distributions: {DISTRIBUTION}, and circuitkit 3.1" in line
    assert "To part them: pip uninstall circuitkit sparse-circuitkit" in line


@pytest.mark.parametrize("lists", [[], ["circuitkit.pth"]])
def test_a_distribution_of_that_name_with_other_files_is_no_matter(tmp_path, monkeypatch, lists):
    """Such as an editable install from before this package had its name."""
    package = tmp_path / "circuitkit"
    package.mkdir()
    (package / "__init__.py").write_text("")
    record(tmp_path, lists=lists)
    monkeypatch.syspath_prepend(tmp_path)
    check_unmixed(package)


def test_a_distribution_that_installed_elsewhere_is_no_matter(tmp_path, monkeypatch):
    """Each in an environment of its own."""
    record(tmp_path / "theirs", lists=["circuitkit/__init__.py"])
    monkeypatch.syspath_prepend(tmp_path / "theirs")
    check_unmixed(PACKAGE)
