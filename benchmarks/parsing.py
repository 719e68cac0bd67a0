"""How fast is the Million Playlist Dataset read, and how much memory does every entry and every URI cost?

    python benchmarks/parsing.py [--slices 20] [--repeats 5] [--folder FOLDER]

Plants slices of true MPD size in a temporary folder: 1,000 playlists of 66 entries on average, printed with indentation
as the published ones are, about 33 MB each. (--folder keeps them for the next time.) Then, taking turns in one process:
reading them into a table, against json.loads alone. Then, on two cores and by the clock: one process and two.
Memory: processes of their own read the first half and the whole; what the peak of the second exceeds that of the first
by is due to the additional entries and URIs (of tracks, artists and albums). Writes benchmarks/results/parsing.json.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import against, arguments, at_most, peak_growth, save, take_turns
from mpd.parse import ENTRY
from mpd.planted import Sizes
from mpd.slices import read_slices
from mpd.synthetic import plant
from mpd.writer import write_slices

TIME = 1.7                      # bar: times json.loads
TWICE = 1.7                     # bar: how many times as long one process takes as two
BYTES = 10, 200                 # bar: bytes an entry and a URI


def make_slices(folder: Path, number: int) -> None:
    """Plant slices in `folder`, with as many different tracks as the MPD has in its first ones, and indent them."""
    write_slices(folder, *plant(1000 * number, mean_length=68, sizes=Sizes(tracks=10_000 * number + 60_000)))
    inner, outer = "\n" + 16 * " ", "\n" + 12 * " "
    for path in folder.iterdir():
        text = path.read_text()
        for key in (*ENTRY, "duration_ms"):
            text = text.replace(f'"{key}": ', f'{inner}"{key}": ')
        path.write_text(text.replace("}, {", f"{outer}}},{outer}{{"))


def table_of(folder: Path, slices: int, workers: int = 0):
    return read_slices(folder, slices=slices, cache=None, workers=workers)


def grown(folder: Path, slices: int) -> dict:
    """Peak growth, entries and URIs of reading so many slices in a process of its own."""
    command = [sys.executable, __file__, "--folder", str(folder), "--grown", str(slices)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(argv: list[str] | None = None) -> dict:
    parser = arguments(__doc__, data=False, repeats=5)
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where the slices are, or are to be kept")
    parser.add_argument("--grown", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.grown:
        mb, table = peak_growth(lambda: table_of(args.folder, args.grown))
        print(json.dumps({"mb": mb, "entries": len(table.track),
                          "uris": table.num_tracks + table.num_artists + table.num_albums}))
        return {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        if not folder.is_dir() or not any(folder.iterdir()):
            make_slices(folder, args.slices)
        numbers = measure(folder, args.slices, args.repeats)
    save("parsing", numbers)
    return numbers


def measure(folder: Path, slices: int, repeats: int) -> dict:
    files = sorted(folder.iterdir(), key=lambda path: int(path.name.split(".")[2].split("-")[0]))[:slices]
    size = sum(path.stat().st_size for path in files) / 1e6
    print(f"{len(files)} slices, {size:,.0f} MB")

    def parse_only():
        for path in files:
            json.loads(path.read_bytes())
    ms = take_turns({"json.loads": parse_only, "table": lambda: table_of(folder, slices)}, repeats, warm_up=1)
    each = {name: time / len(files) for name, time in ms.items()}
    rows = [at_most(f"table {each['table']:.0f} ms a slice ÷ json.loads {each['json.loads']:.0f}",
                    ms["table"] / ms["json.loads"], TIME, "times")]
    if len(os.sched_getaffinity(0)) > 1:
        readers = {workers: lambda workers=workers: table_of(folder, slices, workers) for workers in (0, 2)}
        clock = take_turns(readers, repeats, warm_up=1, clock=time.perf_counter)
        rows += against("two processes, by the clock", clock[2], {"one process": clock[0]}, {"one process": TWICE})
    else:
        print("one core to run on: two processes are not compared")
    half, whole = (grown(folder, count) for count in (slices // 2, slices))
    more = {name: whole[name] - half[name] for name in whole}
    allowed = (BYTES[0] * more["entries"] + BYTES[1] * more["uris"]) / 1e6
    rows.append(at_most(f"{more['entries']:,} entries and {more['uris']:,} URIs more", more["mb"], allowed, "MB"))
    print(f"beyond {BYTES[0]} bytes an entry: {(more['mb'] - BYTES[0] * more['entries'] / 1e6) / more['uris'] * 1e6:.0f} "
          f"MB a million URIs; peak growth in all {whole['mb']:.0f} MB")
    return {"slices": len(files), "mb": size, "ms_a_slice": each, "rows": rows, "half": half, "whole": whole}


if __name__ == "__main__":
    main()
