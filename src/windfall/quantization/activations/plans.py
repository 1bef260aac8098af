"""Keep how graphs are quantized in the cache, so that a later start does not calibrate.

An entry is a line of JSON that names the model, and JSON of some kilobytes. Whatever is wrong with one, the model is
calibrated again.
"""

import json
from pathlib import Path
from typing import Any

from windfall.quantization.activations.calibrating import Plan
from windfall.quantization.activations.ranges import LEVELS, Range
from windfall.runtime.cache import INT8, LONGEST_ABOUT, CompileCache
from windfall.runtime.processor import NARROW, WIDE

_LONGEST = 2**24


def kept_plan(folder: Path, key: str) -> Plan | None:
    """Return a plan that was kept; None if there is none, or it is damaged."""
    try:
        with (folder / f"{key}{INT8}").open("rb") as file:
            file.readline(LONGEST_ABOUT)
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


def keep_plan(folder: Path, key: str, plan: Plan, source: str = "") -> None:
    """Keep a plan, of the model with the path ``source``; nothing happens where the cache cannot be written."""
    entry = {
        "ranges": {name: [steps.scale, steps.zero] for name, steps in plan.ranges.items()},
        "kept": sorted(plan.kept),
        "largest_weight": plan.largest_weight,
    }
    told = f"{json.dumps({'model': source})}\n{json.dumps(entry)}".encode()
    CompileCache(folder).keep(f"{key}{INT8}", lambda file: file.write(told))
