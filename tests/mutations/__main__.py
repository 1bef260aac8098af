"""Run some mutations of a group: ``python -m tests.mutations GROUP FIRST LAST``."""

import json
import random
import sys
import tempfile
from pathlib import Path

from tests.mutations.groups import GROUPS
from tests.mutations.harness import Mutation, limit_memory, outcome, run
from tests.mutations.networks import classifier
from windfall.lowering.ml_program import control_flow as program_control_flow
from windfall.lowering.neural_network import control_flow


def work(group: str, first: int, last: int) -> None:
    """Run some mutations of a group; prints a line of JSON for each, the index first."""
    limit_memory()
    # A loop that reaches the real limit takes longer than a mutation may.
    control_flow.MOST_ITERATIONS = program_control_flow.MOST_ITERATIONS = 1000
    make = GROUPS[group].make
    # What the first model of a process needs is not a mutation's.
    run(Mutation(classifier()))
    for index in range(first, last):
        sys.stdout.write(f"[{index}, ")
        sys.stdout.flush()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            found = outcome(make(index, random.Random(f"{group} {index}"), Path(folder)))
        sys.stdout.write(f"{', '.join(map(json.dumps, found))}]\n")


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
