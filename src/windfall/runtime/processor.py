"""What a processor's 8-bit instructions hold."""

import platform
import re
from functools import cache
from pathlib import Path

WIDE, NARROW = 127, 63
_CPUINFO = Path("/proc/cpuinfo")
_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8"})


@cache
def largest_weight() -> int:
    """Return the largest whole number that weights may become.

    On x86-64 processors without dot products (VNNI) ONNX Runtime adds two products of 8 bits in 16 bits, where 255 *
    127 twice is cut off; with weights to 63 it is not. Where nothing tells what a processor has, they are narrow, too.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return WIDE
    try:
        with _CPUINFO.open() as lines:
            flags = set(re.findall(r"\w+", next((line for line in lines if line.startswith("flags")), "")))
    except OSError:
        return NARROW
    return WIDE if flags & _DOT_PRODUCTS else NARROW
