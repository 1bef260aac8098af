"""Keep how graphs are quantized in the cache, so that a later start does not calibrate.

An entry is JSON of some kilobytes. Whatever is wrong with one, the model is calibrated again.
"""

import json
from pathlib import Path
from typing import Any

from windfall.errors import WindfallError
from windfall.quantization.activations.calibrating import Plan
from windfall.quantization.activations.processor import NARROW, WIDE
from windfall.quantization.activations.ranges import LEVELS, Range
from windfall.spec.writing import write_file

SUFFIX = ".int8"
_LONGEST = 2**24


def kept_plan(folder: Path, key: str) -> Plan | None:
    """Return a plan that was kept; None if there is none, or it is damaged."""
    try:
        with (folder / f"{key}{SUFFIX}").open("rb") as file:
            entry = json.loads(file.read(_LONGEST))
        ranges = {str(name): _range(*steps) for name, steps in entry["ranges"].items()}
        largest = {WIDE: WIDE, NARROW: NARROW}[entry["largest_weight"]]
        return Plan(ranges, frozenset(map(str, entry["kept"])), largest)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _range(scale: Any, zero: Any) -> Range:
    if not (0 < float(scale) < float("inf") and 0 <= int(zero) <= LEVELS):
        raise ValueError("no range")
    return Range(float(scale), int(zero))


def keep_plan(folder: Path, key: str, plan: Plan) -> None:
    """Keep a plan; nothing happens where the cache cannot be written."""
    entry = {
        "ranges": {name: [steps.scale, steps.zero] for name, steps in plan.ranges.items()},
        "kept": sorted(plan.kept),
        "largest_weight": plan.largest_weight,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_file(folder / f"{key}{SUFFIX}", json.dumps(entry).encode())
    except (OSError, WindfallError):
        return
