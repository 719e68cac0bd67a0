"""What do reading, building, a batch, ranking and memory cost, from a thousand playlists to a million?

    python benchmarks/scale.py [--sizes 1000 10000 100000 1000000] [--batches 300] [--parsed 10000]

For every size, in a process of its own on one core: playlists planted straight into arrays (mean length 66 after
de-duplication, as the MPD's), graph with artists and albums, neighbour sampler, hetero-SAGE steps on 512 links with
fan-out [20, 10], and the top 300 of the whole catalogue for 10,000 playlists, or for all where they are fewer. Up to
--parsed playlists are written as slices and read as well; a million would be 24 GB of them. Writes
benchmarks/results/scale.json. A batch must cost the same at every size, up to the caches; memory must grow linearly
with the entries.
"""
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import chain, repeat
from pathlib import Path

from harness import arguments, markdown, peak_mb, save

RANKED = 10_000                 # playlists, or all there are
FAN_OUT = [20, 10]


def measure(size: int, batches: int, parsed: int) -> dict:
    """One size, in this process."""
    import torch

    from gnn import make_model
    from training.optimiser import RowAdam
    from mpd.build import build_graph
    from mpd.planted import Sizes
    from mpd.slices import read_slices
    from mpd.split import make_split
    from mpd.synthetic import plant
    from mpd.writer import write_slices
    from ranking.protocol import dot_scores
    from ranking.topk import Known, rank
    from sampling.links import Links, SampledGraph
    from sampling.negatives import Negatives
    from sampling.neighbors import NeighborSampler
    from train import batch_loss
    from training.settings import Settings

    torch.set_num_threads(1)
    clock = time.perf_counter
    numbers = {"playlists": size}
    start = clock()
    playlists, planted = plant(size, mean_length=68, sizes=Sizes(tracks=max(int(2.262 * size), 6000)))
    numbers |= {"entries": playlists.playlist.size, "tracks": playlists.num_tracks, "plant_s": clock() - start,
                "parse_s": None}
    if size <= parsed:
        with tempfile.TemporaryDirectory() as folder:
            write_slices(Path(folder), playlists, planted)
            start = clock()
            read_slices(folder, cache=None, workers=0)
            numbers["parse_s"] = clock() - start
    start = clock()
    split = make_split(playlists, shares=(1, 0, 0))
    graph = build_graph(playlists, split.train)
    playlist, track = torch.from_numpy(split.train.playlist), torch.from_numpy(split.train.track)
    numbers["build_s"] = clock() - start
    generator = torch.Generator().manual_seed(0)
    start = clock()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, generator)
    sampler = NeighborSampler(graph, FAN_OUT, torch.Generator())
    messages = SampledGraph(graph, playlists.num_tracks, sampler, generator)
    links = Links((playlist, track), messages, 512, negatives, 1, generator)
    settings = Settings(model="hetero-sage", neg="random", weight_decay=0.0)
    net = make_model(graph, settings.model, settings.dim, settings.layers)
    net.inputs.sparse_gradients(True)
    optimiser = RowAdam(net.parameters(), lr=0.01)
    endless = chain.from_iterable(repeat(links))                # a small size has fewer batches than are timed
    batch = next(endless)
    numbers["shuffle_s"] = clock() - start
    sample, step = [], []
    for _ in range(batches):
        start = clock()
        batch = next(endless)
        sample.append(clock() - start)
        x, z = net(batch.nodes, batch.adjs)
        loss = batch_loss(settings, x, z, batch, ("playlist", "track"))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step.append(clock() - start)
    numbers |= {"batch_ms": 1000 * statistics.median(sample), "step_ms": 1000 * statistics.median(step),
                "nodes_a_batch": sum(map(len, batch.nodes.values()))}
    start = clock()
    known = Known(playlist, track, playlists.num_playlists)
    numbers["known_s"] = clock() - start
    tables, chosen = net.inputs.embedding, torch.arange(min(RANKED, size))
    start = clock()
    rank(dot_scores(tables["playlist"].weight.detach(), tables["track"].weight.detach()), chosen, known, 300)
    numbers["rank_ms"] = 1000 * (clock() - start) / len(chosen)
    numbers["peak_gb"] = peak_mb() / 1024
    return numbers


def main(argv: list[str] | None = None) -> list[dict]:
    parser = arguments(__doc__, data=False)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--parsed", type=int, default=10_000, help="write and read slices up to this size")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(measure(args.one, args.batches, args.parsed)))
        return []
    rows = []
    for size in args.sizes:
        done = subprocess.run([sys.executable, __file__, "--one", str(size), "--batches", str(args.batches),
                               "--parsed", str(args.parsed)], stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        if not rows[1:]:
            print(markdown(list(rows[0]), []))
        cells = ["–" if v is None else f"{v:,.2f}" if isinstance(v, float) else f"{v:,}" for v in rows[-1].values()]
        print("| " + " | ".join(cells) + " |", flush=True)
        save("scale", rows)
    return rows


if __name__ == "__main__":
    main()
