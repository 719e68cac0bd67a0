"""How long does one sampled batch take, and one sampled training step?

    python benchmarks/sampler.py [--data PATH | --playlists N] [--repeats 30]

One thread; fan-out [20, 10] over all relations, 512 links and 512 negatives, de-duplicated. Prints milliseconds a batch
and million edges a second for both ways of drawing, beside Python's random.sample row by row (one hop, no
de-duplication), the checked negatives a second, and a whole hetero-SAGE step. Medians; the rivals take turns. Writes
benchmarks/results/sampler-<name of the data>.json.
"""
from __future__ import annotations

import random

import torch

from harness import arguments, milliseconds, name_of, save, take_turns, verdict
import mpd
from gnn import make_model, view_of
from training.optimiser import RowAdam
from mpd.build import build_graph
from mpd.planted import Sizes
from mpd.split import make_split
from mpd.synthetic import plant
from ranking import losses
from sampling.negatives import Negatives
from sampling.neighbors import NeighborSampler

FANOUTS, PAIRS = [20, 10], 512
BARS = {"shuffled": 8, "independent": 4}        # times the edges a second of random.sample


def main(argv: list[str] | None = None) -> dict:
    parser = arguments(__doc__, repeats=30)
    parser.add_argument("--playlists", type=int, help="plant so many playlists instead, of mean length 62")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    if args.playlists:
        playlists = plant(args.playlists, mean_length=62, sizes=Sizes(tracks=3 * args.playlists))[0]
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

    samplers = {draw: NeighborSampler(graph, FANOUTS, generator, draw) for draw in ("shuffled", "independent")}
    numbers = {"shuffle_ms": milliseconds(samplers["shuffled"].shuffle)}
    A = graph.adjs["playlist", "contains", "track"]
    rows = [A.col[A.ptr[i]:A.ptr[i + 1]].tolist() for i in track[:2000].tolist()]
    rows = [row for row in rows if len(row) > FANOUTS[0]] or rows
    batch, drawn = seeds(), {}

    def row_by_row():
        drawn["random.sample"] = [random.sample(row, min(len(row), FANOUTS[0])) for row in rows]
    rivals = {draw: lambda draw=draw: drawn.__setitem__(draw, samplers[draw].sample(batch)) for draw in samplers}
    ms = take_turns(rivals | {"random.sample": row_by_row}, args.repeats)
    plain = sum(map(len, drawn["random.sample"])) / ms["random.sample"] / 1000
    for draw in samplers:
        count = sum(A.num_edges for A in drawn[draw].adjs[0].values())
        nodes, rate = sum(map(len, drawn[draw].nodes.values())), count / ms[draw] / 1000
        numbers[draw] = {"ms": ms[draw], "edges": count, "nodes": nodes, "million_edges_per_s": rate,
                         "times_random_sample": rate / plain, "bar": BARS[draw]}
        print(f"{draw:12} {ms[draw]:7.2f} ms a batch  {count:8,} edges  {nodes:8,} nodes  {rate:6.1f} M edges/s  "
              f"{rate / plain:5.1f} times random.sample  {verdict(rate / plain, BARS[draw])}")
    print(f"random.sample, one hop, no de-duplication: {plain:.1f} M edges/s")
    big = playlist[torch.randint(len(playlist), (1_000_000,), generator=generator)]
    rate = 1e6 / take_turns({"one call": lambda: negatives.draw(big, None, 1)}, 5, 0)["one call"] / 1000
    few = take_turns({"a batch": lambda: negatives.draw(playlist[:PAIRS], None, 1)}, 50, 0)["a batch"]
    print(f"checked negatives: {rate:.1f} million/s in one call, {PAIRS / few / 1000:.1f} million/s {PAIRS} at a time")
    net = make_model(view_of("hetero-sage", graph), "hetero-sage", 64, 2)
    net.inputs.sparse_gradients(True)
    optimiser = RowAdam(net.parameters(), lr=0.01)

    def step():
        batch = seeds()
        nodes, adjs, local = samplers["shuffled"].sample(batch)
        z = net(nodes, adjs)[1]
        p, (t, n) = z["playlist"][local["playlist"]], z["track"][local["track"]].split(PAIRS)
        loss = losses.bpr((p * t).sum(1), (p * n).sum(1, keepdim=True))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    step_ms = take_turns({"step": step}, args.repeats - 2)["step"]
    print(f"hetero-SAGE, loader, model and optimiser: {step_ms:.1f} ms a batch")
    numbers |= {"random_sample_million_edges_per_s": plain, "negatives_million_per_s": rate, "sage_step_ms": step_ms}
    save(f"sampler-{args.playlists or name_of(args.data)}", numbers)
    return numbers


if __name__ == "__main__":
    main()
