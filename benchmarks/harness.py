"""What the benchmark scripts share: flags, rivals that take turns, values beside their bars, memory, tables, results.

Import it first: it puts the project on the path, since scripts are started as `python benchmarks/<name>.py`.
"""
from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
RESULTS = ROOT / "benchmarks" / "results"


def arguments(doc: str, data: bool = True, repeats: int | None = None) -> argparse.ArgumentParser:
    """A parser with the script's docstring as its help, --data and --repeats where asked for."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        parser.add_argument("--data", type=Path, help="as train.py; without it synthetic playlists")
    if repeats is not None:
        parser.add_argument("--repeats", type=int, default=repeats, help=f"rounds that count (default: {repeats})")
    return parser


def name_of(data: Path | None) -> str:
    """What a result file calls the data."""
    return data.stem if data else "synthetic"


def train_quietly(argv: list[str] | None = None, settings=None) -> Path:
    """train.main without its lines."""
    import train
    with contextlib.redirect_stdout(io.StringIO()):
        return train.main(argv, settings)


# ---- time and bars ---------------------------------------------------------------------------------------------------

def milliseconds(function: Callable, clock: Callable = time.process_time) -> float:
    """The time of one call. By default this process's own, in user and kernel mode: on a core of its own the wall time,
    and on a shared one still without the turns of others; rivals with several processes need time.perf_counter."""
    start = clock()
    function()
    return (clock() - start) * 1000


def take_turns(rivals: dict[str, Callable], repeats: int = 7, warm_up: int = 2,
               clock: Callable = time.process_time) -> dict[str, float]:
    """Median milliseconds of each rival, by name, after `warm_up` rounds that do not count.

    In every round each runs once, so that whatever else the machine is doing falls on all of them alike and their
    ratio holds although no single time does."""
    times = {name: [] for name in rivals}
    for _ in range(warm_up + repeats):
        for name, function in rivals.items():
            times[name].append(milliseconds(function, clock))
    return {name: statistics.median(all_times[warm_up:]) for name, all_times in times.items()}


def against(what: str, ours: float, rivals: dict[str, float], bars: dict[str, float | None]) -> list[dict]:
    """Print how many times longer than `ours` each rival takes (both in ms), beside the bar; the same as rows."""
    rows = []
    for name, ms in rivals.items():
        ratio, bar = ms / ours, bars.get(name)
        line = f"{what:34} {name:22} {ms:9.1f} ms / {ours:8.1f} ms = {ratio:6.2f}  {verdict(ratio, bar)}"
        print(line.rstrip(), flush=True)
        rows.append({"what": what, "rival": name, "rival_ms": ms, "ours_ms": ours, "ratio": ratio, "bar": bar})
    return rows


def at_most(what: str, value: float, bar: float | None, unit: str) -> dict:
    """Print a value that should not pass its bar, if there is one; the same as a row."""
    print(f"{what:57} {value:9.2f} {unit}  {verdict(value, bar, at_most=True)}".rstrip(), flush=True)
    return {"what": what, "value": value, "unit": unit, "bar": bar}


def verdict(value: float, bar: float | None, at_most: bool = False) -> str:
    """The bar and whether the value reaches it, as text; nothing without a bar."""
    if bar is None:
        return ""
    return f"bar {bar:g}  {'reached' if (value <= bar if at_most else value >= bar) else 'MISSED'}"


# ---- tables and results ----------------------------------------------------------------------------------------------

def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table as the documentation has it; common.cli.table makes one for the terminal of the same arguments."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def mean_and_deviation(numbers: list[float]) -> str:
    """"0.1234 ± 0.0056" over seeds; the mean alone where they do not differ."""
    return f"{statistics.mean(numbers):.4f}" + (f" ± {statistics.stdev(numbers):.4f}" if len(set(numbers)) > 1 else "")


def save(name: str, numbers) -> None:
    """Write benchmarks/results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(numbers, indent=1, ensure_ascii=False) + "\n")


# ---- memory ----------------------------------------------------------------------------------------------------------

def peak_growth(function: Callable) -> tuple[float, object]:
    """By how many MB the resident memory of this process exceeds, at its peak during one call, what it was before; and
    what the call returned. Linux only: the kernel's high-water mark is reset first."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_mb()
    result = function()
    return peak_mb() - before, result


def resident_mb() -> float:
    """The resident memory of this process. Linux only."""
    return _status("VmRSS")


def peak_mb() -> float:
    """Its peak so far. (getrusage would count the parent's peak in, where the parent was larger at the start.)"""
    return _status("VmHWM")


def _status(field: str) -> float:
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
