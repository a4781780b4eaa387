"""Every fuzzer for some minutes, with a new seed each round.

The suite runs a fuzzer once, from one seed. Here it runs round after round, each from a seed of its
own, until its minutes are over or a seed fails, whose output is shown.

Usage: PYTHONPATH=tests python tests/benchmarks/fuzz.py [--minutes N] [WORD ...]
       (those whose names contain one of the words)
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from pathlib import Path

import pytest

FUZZERS = (
    "test_hostile_folders.py::test_damage_is_one_message_or_no_matter",
    "test_pair_files.py::test_any_bytes_are_a_task_or_an_error_that_names_the_file",
    "test_pair_files.py::test_a_csv_and_a_jsonl_of_the_same_pairs_are_one_task",
    "test_released_circuits.py::test_a_damaged_file_is_read_or_refused",
    "test_tokenizer.py::test_any_text_comes_back",
    "test_token_names.py::test_no_vocabulary_gives_two_tokens_one_name",
    "test_page.py::test_any_token_leaves_the_page_as_it_is",
    "test_page.py::test_the_data_reads_back_and_closes_no_element",
    "test_page_one.py::test_no_string_of_an_explanation_breaks_the_report",
    "test_report.py::test_no_string_breaks_the_page",
    "test_report.py::test_prose_is_a_line_that_the_fonts_can_set",
    "test_notebook.py::test_no_text_becomes_markup",
    "test_diagram.py::test_no_token_breaks_the_picture",
    "test_paths_diagram.py::test_no_token_breaks_the_stripped_diagram",
    "test_export.py::test_no_text_breaks_a_graph",
)
TESTS = Path(__file__).parents[1]


def fails(fuzzer: str, seed: int) -> str:
    """What pytest prints where a round fails; nothing where it passes."""
    os.environ["FUZZ_SEED"] = str(seed)  # for fuzzers without hypothesis
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = pytest.main([
            str(TESTS / fuzzer), "-q", "-p", "no:cacheprovider",
            "--hypothesis-profile=any_seed", f"--hypothesis-seed={seed}",
        ])  # fmt: skip
    return printed.getvalue() if code else ""


def main() -> None:
    """A row a fuzzer, as it is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--minutes", type=float, default=10, help="for each (default 10)")
    given = parser.parse_args()
    sys.stdout.write("| fuzzer | rounds | minutes | failed |\n|---|---|---|---|\n")
    any_failed = False
    for fuzzer in FUZZERS:
        if given.words and not any(word in fuzzer for word in given.words):
            continue
        began, n_rounds, printed = time.monotonic(), 0, ""
        while not printed and time.monotonic() - began < 60 * given.minutes:
            n_rounds += 1
            printed = fails(fuzzer, seed=n_rounds)
        minutes = (time.monotonic() - began) / 60
        failed = f"seed {n_rounds}" if printed else "none"
        sys.stdout.write(f"| {fuzzer} | {n_rounds} | {minutes:.1f} | {failed} |\n{printed}")
        sys.stdout.flush()
        any_failed |= bool(printed)
    raise SystemExit(any_failed)


if __name__ == "__main__":
    main()
