"""How long is one optimiser step on the whole graph, for every model, against the same model in PyG?

    python benchmarks/models.py --data PATH [--models lightgcn hgt] [--repeats 7] [--peaks]

One thread, dim 64, two layers (LightGCN three), BPR on 2,048 links: forward, backward, Adam. The rivals take turns in
one process, so their ratio holds on a noisy machine; medians are printed. Without torch_geometric only our times are.
LightGCN also meets PyG with a CSR adjacency, and the sparse COO product of its authors, both normalised beforehand.
"tuned" repeats all of it after telling glibc to keep freed memory, which most helps the code that makes many large
temporaries. --peaks runs ours and PyG's in processes of their own and compares their peak resident memory. Writes
benchmarks/results/models-<name of the data>.json.
"""
from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F

from harness import against, arguments, at_most, name_of, peak_mb, save, take_turns
from common import cli
import mpd
from gnn import MODELS, make_model, view_of
from gnn.sparse import normalize_sym
from mpd.build import build_graph
from mpd.split import make_split

BATCH, DIM = 2048, 64
LAYERS = {"lightgcn": 3}

# ratios to reach, (glibc as it is, glibc told to keep freed memory), with artists and albums in the graph …
BARS = {"lightgcn": {"pyg": (20, 6)}, "gcn": {"pyg": (8, 2.4)}, "hgt": {"pyg": (5, 2.8)}, "gat": {"pyg": (4.5, 1.8)},
        "rgcn": {"pyg": (3.5, 3.2)}, "hetero-sage": {"pyg": (2, 2.5)}, "sage": {}}
PEAKS = {"hgt": 0.55}           # our peak memory as a share of PyG's, at most
# … and where there are links alone, as on Gowalla
BARS_OF_LINKS = {"lightgcn": {"pyg": (22, 7), "pyg with CSR": (3.5, None), "authors' COO": (5, None)}}
PEAKS_OF_LINKS = {"lightgcn": 0.55}


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


def lightgcn_embed(x, layers):
    """The mean of layer 0 and of what each layer, a function of (N, D), makes of the one before."""
    def embed():
        h = total = x
        for layer in layers:
            h = layer(h)
            total = total + h
        return total / (1 + len(layers))
    return embed


def sparse_lightgcn(layout, graph, rows):
    """LightGCN over a normalised torch sparse matrix: PyG's layer on CSR, or its authors' product on COO."""
    (A,) = view_of("lightgcn", graph).adjs.values()
    A = normalize_sym(A)
    with warnings.catch_warnings():                     # torch calls its CSR layout beta
        warnings.simplefilter("ignore")
        matrix = torch.sparse_csr_tensor(A.ptr.long(), A.col.long(), A.value, A.shape)
    if layout == "CSR":
        from torch_geometric.nn import LGConv
        conv = LGConv(normalize=False)
        layers = [lambda h: conv(h, matrix)] * 3
    else:
        matrix = matrix.to_sparse_coo()
        layers = [lambda h: torch.sparse.mm(matrix, h)] * 3
    x = torch.nn.Parameter(torch.randn(A.shape[0], DIM) * 0.1)
    return optimiser_step([x], lightgcn_embed(x, layers), rows)


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
        embed = lightgcn_embed(x["node"], [lambda h, layer=layer: layer(h, index, weight) for layer in layers])
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


def rivals_of(name, graph, rows) -> dict:
    """A step of ours and of whatever else is installed, by name."""
    found = {"ours": ours(name, graph, rows)}
    if name == "lightgcn":
        found["authors' COO"] = sparse_lightgcn("COO", graph, rows)
    try:
        import torch_geometric                          # noqa: F401
    except ImportError:
        return found
    if name == "lightgcn":
        found["pyg with CSR"] = sparse_lightgcn("CSR", graph, rows)
    return found | {"pyg": pyg(name, graph, rows)}


def peak_of(name: str, who: str, data: Path | None) -> float:
    """The peak resident memory, in MB, of a process that takes three steps."""
    command = [sys.executable, __file__, "--peak-of", name, who, *(["--data", str(data)] if data else [])]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main(argv: list[str] | None = None) -> list[dict]:
    parser = arguments(__doc__, repeats=7)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--peaks", action="store_true", help="compare peak memory too")
    parser.add_argument("--peak-of", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    playlists = mpd.load(args.data)
    graph = build_graph(playlists, make_split(playlists, shares=(1, 0, 0)).train)
    num_playlists, num_tracks = playlists.num_playlists, playlists.num_tracks
    rows = torch.cat([torch.randint(num_playlists, (1, BATCH)), num_playlists + torch.randint(num_tracks, (2, BATCH))])
    if args.peak_of:
        name, who = args.peak_of
        step = {"ours": ours, "pyg": pyg}[who](name, graph, rows)
        for _ in range(3):
            step()
        print(peak_mb())
        return []
    bars, peaks = (BARS, PEAKS) if playlists.num_artists else (BARS_OF_LINKS, PEAKS_OF_LINKS)
    table = []
    for tuned in (False, True):
        if tuned and not cli.keep_freed_memory():       # there is no way back, so this comes last
            break
        for name in args.models:
            ms = take_turns(rivals_of(name, graph, rows), args.repeats)
            mine = {who: pair[tuned] for who, pair in bars.get(name, {}).items()}
            table += [row | {"tuned": tuned} for row in against(name + ", tuned" * tuned, ms.pop("ours"), ms, mine)]
            if not ms:
                print(f"{name}: no rival installed")
    if args.peaks:
        for name in args.models:
            mine, theirs = (peak_of(name, who, args.data) for who in ("ours", "pyg"))
            table.append(at_most(f"{name}: peak {mine:.0f} MB of PyG's {theirs:.0f} MB", mine / theirs, peaks.get(name),
                                 "of it"))
    save(f"models-{name_of(args.data)}", table)
    return table


if __name__ == "__main__":
    main()
