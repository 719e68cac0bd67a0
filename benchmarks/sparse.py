"""How near are the sparse operations to what memory allows, and how far ahead of other ways to write them?

    python benchmarks/sparse.py [--data gowalla.zip] [--playlists 100000] [--repeats 7]

One thread, 64 features, on two symmetric playlist–track graphs: that of --data (meant for Gowalla, whose features fit
in the cache; left out without --data) and a planted one, whose do not. The rivals take turns in one process and must
agree with ours: scipy, torch's sparse products, the plain "gather, then add up" that message passing libraries do, and
PyG where it is installed. "tuned" repeats the rows of --data after telling glibc to keep freed memory, as every script
does, which helps the gatherers most. Then, so tuned: the bytes each of our operations moves if nothing is found in a
cache, and its share of the copy bandwidth measured between its own runs (above 1 the cache did help). And the memory
that the gradient to the edge weights needs. Writes benchmarks/results/sparse.json.
"""
from __future__ import annotations

import warnings
from functools import partial

import torch
from torch import Tensor
from torch.autograd import grad

from harness import against, arguments, at_most, peak_growth, save, take_turns, verdict
from common import cli
import mpd
from gnn.sparse import Adj, edge_softmax, normalize_sym, sddmm, spmm
from mpd.planted import Sizes
from mpd.playlists import Playlists
from mpd.synthetic import plant

try:
    from torch_geometric.nn import LGConv
    from torch_geometric.utils import softmax as pyg_softmax
except ImportError:
    LGConv = pyg_softmax = None

DIM = 64
COPIED = 64 << 20           # float32 values: 256 MB read and 256 MB written, far beyond the cache

# ratios to reach, (glibc as it is, glibc told to keep freed memory); None where none is asked for
BARS = {
    "spmm": {"scipy": (2.0, None), "CSR @ x": (1.8, None), "sparse.mm(reduce)": (1.6, None)},
    "spmm, planted": {"scipy": (2.8, None), "CSR @ x": (2.8, None), "sparse.mm(reduce)": (2.0, None)},
    "spmm and back": {"CSR @ x": (5, None), "sparse.mm(reduce)": (4, None), "PyG propagate": (30, 9)},
    "sddmm": {"gather": (30, 9)},
    "sddmm and back": {"gather": (20, 8)},
    "softmax and back": {"PyG by index": (1.6, None), "PyG by ptr": (1.3, None)},
    "attention and back": {"gather": (18, 6)},
}
SHARES = {"spmm": 0.7, "spmm, planted": 0.6}


def symmetric(playlists: Playlists) -> Adj:
    """Playlists and tracks as one kind of node, (P + T, P + T), every link in both directions, D^-½ A D^-½."""
    p = torch.from_numpy(playlists.playlist).long()
    t = torch.from_numpy(playlists.track).long() + playlists.num_playlists
    n = playlists.num_playlists + playlists.num_tracks
    return normalize_sym(Adj.from_edges(torch.cat([p, t]), torch.cat([t, p]), (n, n)))


def and_back(function, *inputs: Tensor):
    """function(*inputs) and the gradients to all inputs, as a closure of no arguments."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    up = function(*inputs).detach().cos()                   # some gradient, the same for every rival
    return lambda: grad(function(*inputs), inputs, up)


# ---- the rivals ------------------------------------------------------------------------------------------------------

def gather_spmm(row: Tensor, col: Tensor, x: Tensor, value: Tensor) -> Tensor:
    return torch.zeros_like(x).index_add_(0, row, x[col] * value.unsqueeze(1))


def gather_sddmm(row: Tensor, col: Tensor, q: Tensor, k: Tensor) -> Tensor:
    return (q[row] * k[col]).sum(1)


def gather_softmax(row: Tensor, s: Tensor, nodes: int) -> Tensor:
    top = s.new_zeros(nodes).scatter_reduce(0, row, s.detach(), "amax", include_self=False)
    e = (s - top[row]).exp()
    return e / s.new_zeros(nodes).index_add(0, row, e)[row]


def gather_attention(row: Tensor, col: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return gather_spmm(row, col, v, gather_softmax(row, gather_sddmm(row, col, q, k), len(q)))


def attention(A: Adj, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return spmm(A, v, edge_softmax(A, sddmm(A, q, k)))


def csr_of(A: Adj) -> Tensor:
    with warnings.catch_warnings():                             # torch calls its CSR layout beta
        warnings.simplefilter("ignore")
        return torch.sparse_csr_tensor(A.ptr.long(), A.col.long(), A.value, A.shape)


def spmm_rivals(A: Adj, x: Tensor) -> dict:
    csr, matrix, features = csr_of(A), A.scipy(), x.numpy()
    return {"ours": partial(spmm, A, x), "scipy": lambda: torch.from_numpy(matrix @ features),
            "CSR @ x": lambda: csr @ x, "sparse.mm(reduce)": lambda: torch.sparse.mm(csr, x, "sum")}


def rivals_of(A: Adj) -> dict[str, dict]:
    """Every operation with every way to do it, as closures that return what they computed."""
    torch.manual_seed(0)
    row, col = A.row.long(), A.col.long()
    x, q, k, v = torch.randn(4, A.shape[0], DIM) / DIM ** 0.25
    s, csr, edges = sddmm(A, q, k), csr_of(A), torch.stack([col, row])
    found = {
        "spmm": spmm_rivals(A, x) | {"gather": partial(gather_spmm, row, col, x, A.value)},
        "spmm and back": {"ours": and_back(partial(spmm, A), x), "CSR @ x": and_back(lambda x: csr @ x, x),
                          "sparse.mm(reduce)": and_back(lambda x: torch.sparse.mm(csr, x, "sum"), x)},
        "spmm and back, weights too": {"ours": and_back(partial(spmm, A), x, A.value),
                                       "gather": and_back(partial(gather_spmm, row, col), x, A.value)},
        "sddmm": {"ours": partial(sddmm, A, q, k), "gather": partial(gather_sddmm, row, col, q, k)},
        "sddmm and back": {"ours": and_back(partial(sddmm, A), q, k),
                           "gather": and_back(partial(gather_sddmm, row, col), q, k)},
        "softmax": {"ours": partial(edge_softmax, A, s), "gather": partial(gather_softmax, row, s, A.shape[0])},
        "softmax and back": {"ours": and_back(partial(edge_softmax, A), s),
                             "gather": and_back(lambda s: gather_softmax(row, s, A.shape[0]), s)},
        "attention": {"ours": partial(attention, A, q, k, v), "gather": partial(gather_attention, row, col, q, k, v)},
        "attention and back": {"ours": and_back(partial(attention, A), q, k, v),
                               "gather": and_back(partial(gather_attention, row, col), q, k, v)},
    }
    if LGConv is not None:
        layer, ptr = LGConv(normalize=False), A.ptr.long()
        found["spmm and back"]["PyG propagate"] = and_back(lambda x: layer(x, edges, A.value), x)
        found["softmax and back"] |= {
            "PyG by index": and_back(lambda s: pyg_softmax(s, row, num_nodes=A.shape[0]), s),
            "PyG by ptr": and_back(lambda s: pyg_softmax(s, ptr=ptr), s)}
    return found


# ---- what is asked ---------------------------------------------------------------------------------------------------

def moved(A: Adj) -> dict[str, float]:
    """Bytes that each operation of ours reads and writes, counting every gathered row and every pass over the edges."""
    E, rows = A.num_edges, 4.0 * A.shape[0] * DIM
    spmm_, sddmm_ = E * (8 + 4 * DIM) + rows, E * (8 + 8 * DIM)     # an index and a weight, and a row or two, an edge
    softmax, softmax_back = 56.0 * E, 48.0 * E                      # seven passes and five, two or three arrays each
    permute = 16.0 * E                                              # the weights in the order of the transpose
    return {"spmm": spmm_, "spmm and back": 2 * spmm_, "spmm and back, weights too": 2 * spmm_ + permute + sddmm_,
            "sddmm": sddmm_, "sddmm and back": sddmm_ + 2 * spmm_ + permute,
            "softmax": softmax, "softmax and back": softmax + softmax_back, "attention": sddmm_ + softmax + spmm_,
            "attention and back": 2 * sddmm_ + softmax + softmax_back + 4 * spmm_ + 2 * permute}


def agree(what: str, rivals: dict) -> None:
    """Raises AssertionError if a rival computes something else: then the comparison means nothing."""
    results = {name: function() for name, function in rivals.items()}
    for name, result in results.items():
        pairs = zip(result, results["ours"]) if isinstance(result, tuple) else [(result, results["ours"])]
        assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs), f"{what}: {name} differs from ours"


def race(graph: str, rivals_by_operation: dict[str, dict], repeats: int, tuned: bool) -> list[dict]:
    rows = []
    for operation, rivals in rivals_by_operation.items():
        agree(operation, rivals)
        ms = take_turns(rivals, repeats)
        bars = {name: pair[tuned] for name, pair in BARS.get(operation, {}).items()}
        rows += [row | {"graph": graph, "tuned": tuned}
                 for row in against(operation + ", tuned" * tuned, ms.pop("ours"), ms, bars)]
    return rows


def bandwidth(graph: str, ours: dict, bytes_moved: dict[str, float], repeats: int) -> list[dict]:
    """Each operation of ours in turn with a plain copy."""
    source, rows = torch.ones(COPIED), []
    target = torch.empty_like(source)
    for operation, function in ours.items():
        ms = take_turns({"ours": function, "copy": lambda: target.copy_(source)}, repeats)
        copy, here = (size / ms[who] / 1e6 for size, who in ((8 * COPIED, "copy"), (bytes_moved[operation], "ours")))
        bar = SHARES.get(operation)
        print(f"{operation:34} {ms['ours']:8.1f} ms  {bytes_moved[operation] / 1e6:8.0f} MB  {here:6.1f} GB/s  of "
              f"{copy:4.1f} copied: {here / copy:5.2f}  {verdict(here / copy, bar)}".rstrip(), flush=True)
        rows.append({"what": operation, "graph": graph, "ms": ms["ours"], "mb_moved": bytes_moved[operation] / 1e6,
                     "gb_per_s": here, "copy_gb_per_s": copy, "share_of_copy": here / copy, "bar": bar})
    return rows


def main(argv: list[str] | None = None) -> dict:
    parser = arguments(__doc__, repeats=7)
    parser.add_argument("--playlists", type=int, default=100_000, help="size of the planted graph; 0 = none")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    numbers = {"ratios": [], "bandwidth": [], "memory": []}
    graphs = {}
    if args.playlists:
        planted = plant(args.playlists, mean_length=62, sizes=Sizes(tracks=3 * args.playlists))[0]
        graphs["planted"] = symmetric(planted)
    if args.data is not None:
        graphs["data"] = symmetric(mpd.load(args.data))
    else:
        print("no --data: the rows of a real graph are left out")
    if "data" in graphs:                                        # first, while no other peak hides this one
        A = graphs["data"]
        value, x = A.value.clone().requires_grad_(), torch.randn(A.shape[1], DIM, requires_grad=True)
        assert A.T.num_edges == A.num_edges                     # the transpose is the graph's, not this gradient's
        grown, _ = peak_growth(lambda: spmm(A, x, value).sum().backward())
        numbers["memory"].append(at_most(f"gradient to {A.num_edges:,} edge weights", grown, 200, "MB at the peak"))
    rivals, ours, sizes = {}, {}, {}
    for graph, A in graphs.items():
        print(f"\n{graph}: {A}, features {4 * A.shape[0] * DIM / 1e6:.0f} MB")
        if graph == "planted":                                  # gathering takes gigabytes here
            x = torch.randn(A.shape[1], DIM)
            rivals[graph] = {"spmm, planted": spmm_rivals(A, x)}
            ours[graph] = {"spmm, planted": rivals[graph]["spmm, planted"]["ours"],
                           "spmm and back, planted": and_back(partial(spmm, A), x)}
            sizes[graph] = {f"{operation}, planted": moved(A)[operation] for operation in ("spmm", "spmm and back")}
        else:
            rivals[graph], sizes[graph] = rivals_of(A), moved(A)
            ours[graph] = {operation: those["ours"] for operation, those in rivals[graph].items()}
        numbers["ratios"] += race(graph, rivals[graph], args.repeats, tuned=False)
    if cli.keep_freed_memory() and "data" in graphs:            # from here on: there is no way back
        numbers["ratios"] += race("data", rivals["data"], args.repeats, tuned=True)
    for graph in graphs:
        print(f"\n{graph}: bytes moved")
        numbers["bandwidth"] += bandwidth(graph, ours[graph], sizes[graph], args.repeats)
    save("sparse", numbers)
    return numbers


if __name__ == "__main__":
    main()
