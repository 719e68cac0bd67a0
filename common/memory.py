"""How much memory a step may still ask for."""
from __future__ import annotations

import ctypes
import re
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def available() -> int | None:
    """Bytes that can be had without swapping, MemAvailable of Linux; None elsewhere, where nothing is known.

    The C library may hold on to freed arrays (common.cli.keep_freed_memory). They are free to be used again, but count
    as taken, so it gives them back first."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):                       # another C library, or another system
        pass
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
