"""Laws of files: whole or absent when written, bounded when read, folders claimed politely."""

import errno
import hashlib
import os
import stat
import time
from pathlib import Path

import pytest

from circuitkit.errors import CircuitError, UsageError
from circuitkit.files import (
    claim_folder,
    read_bounded,
    remove,
    sha256,
    sha256_files,
    shipped_folder,
    write_whole,
)
from circuitkit.provenance import record


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("data", [b"\x00\xff", "text ü\n", b"", ""])
def test_what_is_written_is_read(tmp_path, data):
    """Bytes as they are, text as UTF-8; missing parents are made."""
    path = tmp_path / "new" / "deep" / "file"
    write_whole(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)


def test_writing_replaces_and_leaves_nothing_beside(tmp_path):
    """One file afterwards, with the permissions any other new file gets."""
    path, plain = tmp_path / "file", tmp_path / "plain"
    write_whole(path, "old, and longer")
    write_whole(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("before", ["the old content", None])
def test_a_failed_write_changes_nothing(tmp_path, monkeypatch, where, before):
    """Old content stays, a new file is absent, and no part of one is left."""
    path = tmp_path / "file"
    if before is not None:
        path.write_text(before)
    monkeypatch.setattr(*((os, "fsync") if where == "fsync" else (Path, "replace")), full_disk)
    with pytest.raises(UsageError, match=rf"cannot write to .*file: {os.strerror(errno.ENOSPC)}"):
        write_whole(path, "the new content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"] * (before is not None)
    assert before is None or path.read_text() == before


def test_an_interrupted_write_changes_nothing(tmp_path, monkeypatch):
    """Ctrl-C in the middle leaves the old content and no part."""

    def interrupted(handle):
        raise KeyboardInterrupt

    path = tmp_path / "file"
    write_whole(path, "old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "new")
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    """Below a regular file there are no folders: the message says where, and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write to .*file.*Choose a folder that can be"):
        write_whole(tmp_path / "file" / "below", "text")


def test_reading_is_bounded(tmp_path):
    """A file of the limit is read; one byte more is refused unread, with both sizes."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2000)
    assert len(read_bounded(path, CircuitError, "a circuit", limit=2000)) == 2000
    with pytest.raises(
        CircuitError, match=r"is 2,000 bytes; at most 1,999 are read\. Is it a circ"
    ):
        read_bounded(path, CircuitError, "a circuit", limit=1999)


def test_what_cannot_be_read_is_refused_in_the_callers_terms(tmp_path):
    """Missing, a folder, or below a file: the error type and what was expected are the caller's."""
    (tmp_path / "file").touch()
    with pytest.raises(CircuitError, match=r"no such file: .*nothing; expected a circuit\."):
        read_bounded(tmp_path / "nothing", CircuitError, "a circuit")
    with pytest.raises(CircuitError, match=r"cannot read .*directory; expected a circuit\."):
        read_bounded(tmp_path, CircuitError, "a circuit")
    with pytest.raises(CircuitError, match=r"cannot read .*; expected a circuit\."):
        read_bounded(tmp_path / "file" / "below", CircuitError, "a circuit")


def test_a_folder_is_claimed_new_empty_or_with_its_marker(tmp_path):
    """And claimed again."""
    new = tmp_path / "a" / "b"
    claim_folder(new, "run.json", "a run")
    claim_folder(new, "run.json", "a run")
    (new / "run.json").touch()
    (new / "other").touch()
    claim_folder(new, "run.json", "a run")


def test_a_folder_with_something_else_is_refused(tmp_path):
    """Nothing of a stranger's is written over; the message lists what is there."""
    for name in "dcba":
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"holds something else \(a, b, c, …\); .*a run\.json of"):
        claim_folder(tmp_path, "run.json", "a run")
    with pytest.raises(UsageError, match=r"a is a file; --out names a folder for a run"):
        claim_folder(tmp_path / "a", "run.json", "a run")
    with pytest.raises(UsageError, match=r"cannot write to .*a/below: Not a directory"):
        claim_folder(tmp_path / "a" / "below", "run.json", "a run")


def test_parts_that_a_killed_process_left_are_removed(tmp_path):
    """Not those that another process may be writing now, and not a file of the user's."""

    def written(name, hours_ago):
        (tmp_path / name).touch()
        then = time.time() - 3600 * hours_ago
        os.utime(tmp_path / name, (then, then))

    written(".circuit.json.ab12_cd9.part", hours_ago=2)
    written(".means.safetensors.xy34_zw0.part", hours_ago=0.5)
    written(".mine.part", hours_ago=2)
    claim_folder(tmp_path, "run.json", "a run")
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {".means.safetensors.xy34_zw0.part", ".mine.part"}


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    """Before any work is done. (The superuser may write anywhere: os.access is made to say no.)"""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=r"cannot write to .*: it is read-only\. Choose another"):
        claim_folder(tmp_path, "run.json", "a run")


def test_what_cannot_be_removed_is_one_message(tmp_path, monkeypatch):
    """A disk can become read-only while one works; a file that is not there is no matter."""

    def refused(path, missing_ok=False):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    (tmp_path / "file").touch()
    remove(tmp_path / "file")
    remove(tmp_path / "file")
    assert not (tmp_path / "file").exists()
    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(UsageError, match=rf"cannot write to .*: {os.strerror(errno.EROFS)}"):
        remove(tmp_path / "file")


def test_hashes_are_sha256(tmp_path):
    """Of several files: of their hashes, in the order given."""
    one, two = tmp_path / "1", tmp_path / "2"
    one.write_bytes(b"one")
    two.write_bytes(b"two")
    assert sha256(b"one") == hashlib.sha256(b"one").hexdigest()
    assert sha256_files(one, two) != sha256_files(two, one)
    parts = hashlib.sha256(b"one").digest() + hashlib.sha256(b"two").digest()
    assert sha256_files(one, two) == sha256(parts)


def test_the_shipped_folders_are_there():
    """Tasks and report templates, in a checkout as in the wheel."""
    assert list(shipped_folder("tasks").glob("*.toml"))
    assert shipped_folder("templates").is_dir()


def test_provenance_is_a_function_of_its_arguments():
    """The order of a configuration's keys does not matter; its values do. No time stamps."""
    first = record("extract", {"a": 1, "b": 2}, seed=3)
    assert first == record("extract", {"b": 2, "a": 1}, seed=3)
    assert first.config_sha256 != record("extract", {"a": 1, "b": 3}, seed=3).config_sha256
    assert not any("time" in field or "date" in field for field in type(first).model_fields)
