"""Damaged models give a result or a WindfallError: no crash, no hang, no gigabytes.

The mutations are those of ``tests/mutations``: of networks, programs, single layers and operators, packages, compiled
models, classical models and pipelines, and of the values that those are given. A process of its own with limited
memory runs each group, so that a crash is seen as one. To run some again:
``python -m tests.mutations GROUP FIRST LAST``.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutations.groups import GROUPS

ROOT = Path(__file__).parents[1]
# Of the process's own time; loading, compiling and running a small model takes 0.02 s.
MOST_SECONDS = 1.0
# What a mutation may add to the process's peak.
MOST_MEMORY = 512 * 2**20


@pytest.mark.parametrize("group", GROUPS)
def test_mutated_models_give_a_result_or_a_windfall_error(group: str) -> None:
    count = GROUPS[group].count
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-W", "error", "-m", "tests.mutations", group, "0", str(count)]
    done = subprocess.run(  # noqa: S603  # a module of this folder
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]} ended the process ({done.returncode}): {done.stderr[-1000:]}"
    results = [json.loads(line) for line in lines]
    assert len(results) == count
    bad = [
        result
        for result in results
        if result[1].startswith("LEAK") or result[2] > MOST_SECONDS or result[3] > MOST_MEMORY
    ]
    assert not bad
    outcomes = Counter(result[1] for result in results)
    assert outcomes["result"] > 0, outcomes
    assert len(outcomes) > 1, outcomes


def test_packages_and_the_text_of_programs_have_thousands_of_mutations() -> None:
    counts = {name: group.count for name, group in GROUPS.items() if name.startswith(("package-", "text-"))}
    assert sum(counts.values()) >= 5000, counts
