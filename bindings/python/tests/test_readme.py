"""The snippets of README.md and the examples run as they stand, from an empty folder, against what is installed."""

from __future__ import annotations

import csv
import re
import subprocess
import sys

import pytest

from conftest import BINDING, LIMIT

SNIPPETS = re.findall(r"^```python\n(.*?)^```", (BINDING / "README.md").read_text(), re.MULTILINE | re.DOTALL)
EXAMPLES = sorted((BINDING / "examples").glob("*.py"))


def run(folder, *command):
    # Not -X dev: asyncio would then say on a busy machine which step was slow.
    done = subprocess.run([sys.executable, "-X", "faulthandler", "-W", "error", *command], cwd=folder,
                          capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_there_are_snippets_and_examples():
    assert len(SNIPPETS) >= 8
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs_as_it_stands(tmp_path, number):
    (tmp_path / "snippet.py").write_text(SNIPPETS[number])
    printed = run(tmp_path, "snippet.py")
    # What a comment behind a print promises is what it prints.
    lines = iter(printed.splitlines())
    for promised in re.findall(r"^ *print\(.*\)  # (.*)$", SNIPPETS[number], re.MULTILINE):
        assert promised in lines, f"{promised} is not among what is left of\n{printed}"


def carriers():
    """Those in the data with a known delay."""
    with (BINDING / "examples" / "flights.csv").open(newline="") as file:
        return len({row["carrier"] for row in csv.DictReader(file) if row["dep_delay"] != "NA"})


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_from_an_empty_folder(tmp_path, example):
    printed = run(tmp_path, str(example))
    if example.name == "flights.py":
        assert "2,000 flights" in printed
        assert len(re.findall(r"^[A-Z0-9]{2} +-?[0-9.]+$", printed, re.MULTILINE)) == carriers()
