"""How long does one sampled batch take, and one sampled training step?

    python benchmarks/sampler.py [--data PATH | --playlists N] [--repeats 30]

One thread; fan-out [20, 10] over all relations, 512 links and 512 negatives, de-duplicated. Prints milliseconds a batch
and million edges a second for both ways of drawing, beside Python's random.sample row by row (one hop, no
de-duplication), the checked negatives a second, and a whole hetero-SAGE step. Medians; the rivals take turns.
"""
from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import mpd                                              # noqa: E402
from gnn import make_model, view_of                     # noqa: E402
from gnn.inputs import RowAdam                          # noqa: E402
from mpd.build import build_graph                       # noqa: E402
from mpd.split import make_split                        # noqa: E402
from mpd.synthetic import plant                         # noqa: E402
from ranking import losses                              # noqa: E402
from sampling.negatives import Negatives                # noqa: E402
from sampling.neighbors import NeighborSampler          # noqa: E402

FANOUTS, PAIRS = [20, 10], 512


def milliseconds(function) -> float:
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="as train.py")
    parser.add_argument("--playlists", type=int, help="plant so many playlists instead, of mean length 62")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    if args.playlists:
        playlists = plant(args.playlists, mean_length=62, num_tracks=3 * args.playlists)[0]
    else:
        playlists = mpd.load(args.data)
    graph = build_graph(playlists, make_split(playlists, shares=(1, 0, 0)).train)
    print(graph)
    playlist, track = torch.from_numpy(playlists.playlist).long(), torch.from_numpy(playlists.track).long()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, generator)

    def seeds():
        chosen = torch.randint(len(playlist), (PAIRS,), generator=generator)
        p, t = playlist[chosen], track[chosen]
        return {"playlist": p, "track": torch.cat([t, negatives.draw(p, t, 1).squeeze(1)])}

    samplers = {draw: NeighborSampler(graph, FANOUTS, generator, draw) for draw in ("window", "independent")}
    times, edges = {draw: [] for draw in samplers}, {}
    shuffle = milliseconds(samplers["window"].shuffle)
    for _ in range(args.repeats + 3):
        for draw, sampler in samplers.items():
            batch = seeds()
            times[draw].append(milliseconds(lambda: edges.__setitem__(draw, sampler.sample(batch))))
    numbers = {"shuffle_ms": shuffle}
    for draw, all_times in times.items():
        count = sum(A.num_edges for A in edges[draw].adjs[0].values())
        ms = statistics.median(all_times[3:])
        numbers[draw] = {"ms": ms, "edges": count, "nodes": sum(map(len, edges[draw].nodes.values())),
                         "million_edges_per_s": count / ms / 1000}
        print(f"{draw:12} {ms:7.2f} ms a batch  {count:8,} edges  {numbers[draw]['nodes']:8,} nodes  "
              f"{numbers[draw]['million_edges_per_s']:6.1f} M edges/s")
    A = graph.adjs["playlist", "contains", "track"]
    rows = [A.col[A.ptr[i]:A.ptr[i + 1]].tolist() for i in track[:2000].tolist()]
    rows = [row for row in rows if len(row) > FANOUTS[0]] or rows
    ms = milliseconds(lambda: [random.sample(row, min(len(row), FANOUTS[0])) for row in rows])
    plain = sum(min(len(row), FANOUTS[0]) for row in rows) / ms / 1000
    print(f"random.sample, one hop, no de-duplication: {plain:.1f} M edges/s: "
          f"{numbers['window']['million_edges_per_s'] / plain:.1f}x (window), "
          f"{numbers['independent']['million_edges_per_s'] / plain:.1f}x (independent)")
    big = playlist[torch.randint(len(playlist), (1_000_000,), generator=generator)]
    rate = 1e6 / statistics.median(milliseconds(lambda: negatives.draw(big, None, 1)) for _ in range(5)) / 1000
    few = statistics.median(milliseconds(lambda: negatives.draw(playlist[:PAIRS], None, 1)) for _ in range(50))
    print(f"checked negatives: {rate:.1f} million/s in one call, {PAIRS / few / 1000:.1f} million/s {PAIRS} at a time")
    net = make_model(view_of("hetero-sage", graph), "hetero-sage", 64, 2)
    net.inputs.sparse_gradients(True)
    optimiser = RowAdam(net.parameters(), lr=0.01)

    def step():
        batch = seeds()
        nodes, adjs, local = samplers["window"].sample(batch)
        z = net(nodes, adjs)[1]
        p, (t, n) = z["playlist"][local["playlist"]], z["track"][local["track"]].split(PAIRS)
        loss = losses.bpr((p * t).sum(1), (p * n).sum(1, keepdim=True))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    step_ms = statistics.median([milliseconds(step) for _ in range(args.repeats)][2:])
    print(f"hetero-SAGE, loader, model and optimiser: {step_ms:.1f} ms a batch")
    numbers |= {"random_sample_million_edges_per_s": plain, "negatives_million_per_s": rate, "sage_step_ms": step_ms}
    if args.out:
        args.out.write_text(json.dumps(numbers, indent=1))
    return numbers


if __name__ == "__main__":
    main()
