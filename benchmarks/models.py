"""How long is one optimiser step on the whole graph, for every model, against the same model in PyG?

    python benchmarks/models.py --data PATH [--repeats 7] [--tuned]

One thread, dim 64, two layers (LightGCN three), BPR on 2,048 links: forward, backward, Adam. The rivals take turns in
one process, so their ratio holds on a noisy machine; medians are printed. Without torch_geometric only our times are.
--tuned tells glibc not to map and unmap large temporaries, which most helps the code that makes many of them.
--memory MODEL WHO runs one of them alone and prints the peak resident memory.
"""
from __future__ import annotations

import argparse
import ctypes
import json
import resource
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import mpd                                              # noqa: E402
from gnn import MODELS, make_model, view_of             # noqa: E402
from mpd.build import build_graph                       # noqa: E402
from mpd.split import make_split                        # noqa: E402

BATCH, DIM = 2048, 64
LAYERS = {"lightgcn": 3}
BARS = {"lightgcn": (20, 6), "gcn": (8, 2.4), "hgt": (5, 2.8), "gat": (4.5, 1.8), "rgcn": (3.5, 3.2),
        "hetero-sage": (2, 2.5), "sage": (None, None)}


def optimiser_step(parameters, embed, rows):
    """One BPR step as a closure; embed() → z (N, D), rows (3, B): playlist, positive, negative rows of z."""
    optimiser = torch.optim.Adam(parameters, lr=0.01, fused=True)

    def step():
        z = embed()
        p, t, n = F.embedding(rows, z).unbind()
        loss = F.softplus((p * (n - t)).sum(1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return step


def ours(name, graph, rows):
    view = view_of(name, graph)
    net = make_model(view, name, DIM, LAYERS.get(name, 2))
    adjs = [view.adjs] * net.layers

    def embed():
        z = net(None, adjs)[1]
        return z["node"] if "node" in z else torch.cat([z["playlist"], z["track"]])
    return optimiser_step(net.parameters(), embed, rows)


def pyg(name, graph, rows):
    """The same model from torch_geometric, written as its examples write it."""
    import torch_geometric.nn as gnn
    view = view_of(name, graph)
    x = torch.nn.ParameterDict({t: torch.nn.Parameter(torch.randn(n, DIM) * 0.1) for t, n in view.num_nodes.items()})
    edges = {r: torch.stack([A.col, A.row]).long() for r, A in view.adjs.items()}
    if name == "rgcn":                                   # RGCNConv knows one node type and numbered relations
        merged = graph.merged()
        x = torch.nn.ParameterDict({"node": torch.nn.Parameter(torch.randn(merged.num_nodes["node"], DIM) * 0.1)})
        starts = {t: int(merged.locate(t, torch.zeros(1, dtype=torch.int64))[1]) for t in graph.num_nodes}
        index = torch.cat([e + torch.tensor([[starts[r[0]]], [starts[r[2]]]]) for r, e in edges.items()], 1)
        kind = torch.cat([torch.full((e.shape[1],), i) for i, e in enumerate(edges.values())])
        layers = torch.nn.ModuleList(gnn.RGCNConv(DIM, DIM, len(edges)) for _ in range(2))

        def embed():
            h = F.relu(layers[0](x["node"], index, kind))
            return layers[1](h, index, kind)
    elif name == "lightgcn":
        (index,) = edges.values()
        weight = next(iter(view.adjs.values())).value
        layers = torch.nn.ModuleList(gnn.LGConv() for _ in range(3))

        def embed():
            h = total = x["node"]
            for layer in layers:
                h = layer(h, index, weight)
                total = total + h
            return total / 4
    elif view.num_nodes.keys() == {"node"}:
        (index,) = edges.values()
        make = {"gcn": lambda: gnn.GCNConv(DIM, DIM), "sage": lambda: gnn.SAGEConv(DIM, DIM),
                "gat": lambda: gnn.GATConv(DIM, DIM // 4, heads=4)}[name]
        layers = torch.nn.ModuleList(make() for _ in range(2))
        activation = F.elu if name == "gat" else F.relu

        def embed():
            return layers[1](activation(layers[0](x["node"], index)), index)
    else:
        metadata = (list(view.num_nodes), view.relations)
        make = {"hgt": lambda: gnn.HGTConv(DIM, DIM, metadata, heads=4),
                "hetero-sage": lambda: gnn.HeteroConv({r: gnn.SAGEConv(DIM, DIM) for r in edges})}[name]
        layers = torch.nn.ModuleList(make() for _ in range(2))

        def embed():
            h = {t: F.relu(v) for t, v in layers[0](dict(x), edges).items()}
            h = layers[1](h, edges)
            return torch.cat([h["playlist"], h["track"]])
    return optimiser_step([*x.parameters(), *layers.parameters()], embed, rows)


def timed(step) -> float:
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) * 1000


def main(argv: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="as train.py")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--tuned", action="store_true", help="glibc keeps freed memory instead of unmapping it")
    parser.add_argument("--memory", nargs=2, metavar=("MODEL", "WHO"), help="peak memory of one; WHO is ours or pyg")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.tuned:
        ctypes.CDLL(None).mallopt(-4, 0)                # M_MMAP_MAX: no block of its own for a large array
        ctypes.CDLL(None).mallopt(-1, 2 ** 31 - 1)      # M_TRIM_THRESHOLD: keep what is freed
    torch.manual_seed(0)
    playlists = mpd.load(args.data)
    graph = build_graph(playlists, make_split(playlists, shares=(1, 0, 0)).train)
    num_playlists, num_tracks = playlists.num_playlists, playlists.num_tracks
    rows = torch.cat([torch.randint(num_playlists, (1, BATCH)), num_playlists + torch.randint(num_tracks, (2, BATCH))])
    if args.memory:
        step = {"ours": ours, "pyg": pyg}[args.memory[1]](args.memory[0], graph, rows)
        for _ in range(3):
            step()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{args.memory[0]} {args.memory[1]}: peak {peak} MB")
        return []
    try:
        import torch_geometric                          # noqa: F401
        rivals = {"ours": ours, "pyg": pyg}
    except ImportError:
        rivals = {"ours": ours}
    print(f"{'model':12} {'ours ms':>8} {'PyG ms':>8} {'ratio':>6} {'bar':>5}")
    table = []
    for name in args.models:
        steps = {who: make(name, graph, rows) for who, make in rivals.items()}
        for step in steps.values():
            step(), step()
        times = {who: [] for who in steps}
        for _ in range(args.repeats):
            for who, step in steps.items():
                times[who].append(timed(step))
        median = {who: statistics.median(t) for who, t in times.items()}
        ratio = median["pyg"] / median["ours"] if "pyg" in median else None
        bar = BARS[name][args.tuned]
        table.append({"model": name, "ms": median, "ratio": ratio, "bar": bar, "tuned": args.tuned})
        theirs = median.get("pyg", float("nan"))
        print(f"{name:12} {median['ours']:8.1f} {theirs:8.1f} {ratio or 0:6.1f} {bar or '':>5}", flush=True)
    if args.out:
        args.out.write_text(json.dumps(table, indent=1))
    return table


if __name__ == "__main__":
    main()
