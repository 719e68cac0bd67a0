"""Neighbour sampling: the part of the graph that a batch of nodes needs, as one small adjacency a relation.

From the seeds outward, every node met for the first time draws at most `fanout[hop]` neighbours from each relation into
it, uniformly and without replacement (GraphSAGE, arXiv:1706.02216, section 3.2). Nodes are numbered in the order they
are met, so that a block's destination rows are its first rows, and the block of every later layer is a prefix of the
first: rows of the seeds, then of hop 1, then of hop 2.

Two ways to draw k of a row's d neighbours:

    window       rows are held in random order, shuffled anew by `shuffle()` once an epoch, and a draw is k consecutive
                 entries from a random start. Each draw alone is exactly uniform over the k-subsets; draws of the same
                 row within an epoch are dependent, as batches without replacement are. Sequential reads: the default.
    independent  Floyd's algorithm, all rows at once: every draw independent of every other.

Everything runs on the graph's device. Blocks have no fixed size, so on CUDA the host asks for a count after each
de-duplication: once a type and hop, and once a relation and hop.

A block estimates the full neighbourhood without bias: its edges weigh d / k (see `Adj.row_degree`), so that a fan-out
of at least d gives the full result exactly.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gnn.graph import HeteroGraph, Relation
from gnn.sparse import Adj

FULL = 2 ** 31 - 1          # a fan-out that takes whole neighbourhoods


class Blocks(NamedTuple):
    """nodes {type: (n_t,) global ids}, position = local id; adjs: one {relation: Adj} a layer, widest first;
    seeds {type: (n,)}: the local ids of the seeds that were asked for, in their order."""
    nodes: dict[str, Tensor]
    adjs: list[dict[Relation, Adj]]
    seeds: dict[str, Tensor]


class NeighborSampler:
    """Samples blocks from `graph` (the view the model sees), on the graph's device.

    fanouts: neighbours a node draws from each relation, one number a hop, nearest hop first; FULL takes all.
    draw: "window" or "independent". generator: makes the draws.
    """

    def __init__(self, graph: HeteroGraph, fanouts: list[int], generator: torch.Generator, draw: str = "window"):
        self.graph, self.fanouts, self.generator, self.draw = graph, list(fanouts), generator, draw
        self.rows = {relation: _Rows(A, self.fanouts) for relation, A in graph.adjs.items()}
        self.seen = {t: torch.full((n,), -1, dtype=torch.int32, device=graph.device)        # local ids, −1 for none
                     for t, n in graph.num_nodes.items()}
        if draw == "window":
            self.shuffle()

    def shuffle(self) -> None:
        """A new random order within every row, for window draws; call it once an epoch."""
        if self.draw == "window":
            for rows in self.rows.values():
                rows.shuffle(self.generator)

    def sample(self, seeds: dict[str, Tensor], targets: dict[Relation, tuple[Tensor, Tensor]] | None = None) -> Blocks:
        """seeds {type: (n,) global ids}, repeats allowed → the blocks that compute their embeddings.

        targets {relation: (dst (B,), src (B,))}: edges between seeds, as global ids, to leave out (`exclude_targets`).
        """
        nodes = {t: [] for t in self.graph.num_nodes}                       # global ids, a tensor a hop
        counts = {t: [0] for t in nodes}                                    # how many nodes up to each hop
        for t in nodes:
            self._meet(t, [seeds[t].int()] if t in seeds else [], nodes, counts)
        local = {t: self.seen[t].index_select(0, ids).long() for t, ids in seeds.items()}
        picked = {relation: ([], [], []) for relation in self.rows}         # cols, counts, values, a tensor a hop
        for fanout in self.fanouts:
            met = {t: [] for t in nodes}
            draws = [(rows, nodes[relation[2]][-1]) for relation, rows in self.rows.items()]
            draw = _windows if self.draw == "window" else _subsets
            for relation, (index, count) in zip(self.rows, draw(draws, fanout, self.generator)):
                rows = self.rows[relation]
                col = rows.col.index_select(0, index)
                met[relation[0]].append(col)
                value = None if rows.value is None else rows.value.index_select(0, index)
                for kept, part in zip(picked[relation], (col, count, value)):
                    kept.append(part)
            for t in nodes:
                self._meet(t, met[t], nodes, counts)
        ids = {t: torch.cat(parts).long() for t, parts in nodes.items()}
        blocks = {relation: self._block(relation, *parts, ids, counts) for relation, parts in picked.items()}
        for (src, name, dst), (rows, cols) in (targets or {}).items():
            rows, cols = self.seen[dst].index_select(0, rows), self.seen[src].index_select(0, cols)
            blocks[src, name, dst] = exclude_targets(blocks[src, name, dst], rows.long(), cols.long())
        hops = len(self.fanouts)
        adjs = [blocks] + [{r: A.trim(counts[r[2]][hops - layer], counts[r[0]][hops - layer + 1])
                            for r, A in blocks.items()} for layer in range(1, hops)]
        for t, met in ids.items():
            self.seen[t].index_fill_(0, met, -1)
        return Blocks(ids, adjs, local)

    def _meet(self, t: str, parts: list[Tensor], nodes: dict, counts: dict) -> None:
        """Number the nodes of `parts` that have no local id yet, each once."""
        seen, base = self.seen[t], counts[t][-1]
        ids = torch.cat(parts) if parts else seen.new_empty(0)
        new = torch.masked_select(ids, seen.index_select(0, ids) < 0)
        where, place = new.long(), torch.arange(len(new), dtype=torch.int32, device=new.device)
        seen.scatter_(0, where, place)                                      # of repeated ids one writer wins …
        unique = torch.masked_select(where, seen.index_select(0, new) == place)          # … and only it is kept
        seen.scatter_(0, unique, place[:len(unique)] + base)
        nodes[t].append(unique.int())
        counts[t].append(base + len(unique))

    def _block(self, relation: Relation, cols: list, degrees: list, values: list, ids: dict, counts: dict) -> Adj:
        src, _, dst = relation
        A = self.graph.adjs[relation]
        count = torch.cat(degrees)
        ptr = torch.zeros(len(count) + 1, dtype=torch.int32, device=count.device)
        torch.cumsum(count, 0, dtype=torch.int32, out=ptr[1:])
        col = self.seen[src].index_select(0, torch.cat(cols))
        rows = ids[dst][:len(count)]
        return Adj(ptr, col, (len(count), counts[src][-1]), None if values[0] is None else torch.cat(values),
                   lambda: A.row_degree.index_select(0, rows), lambda: A.col_degree.index_select(0, ids[src]),
                   row_scale=lambda: A.ptr.diff().index_select(0, rows) / count.clamp(min=1))


class _Rows:
    """The rows of one relation, laid out for drawing: a row longer than the smallest fan-out is followed by its own
    first entries, so that a window may run over its end."""

    def __init__(self, A: Adj, fanouts: list[int]):
        self.A, self.degree = A, A.ptr.diff()
        self.longest = int(self.degree.max()) if len(self.degree) else 0
        self.single = bool((self.degree == 1).all())
        finite = [k for k in fanouts if k < FULL] or [FULL]
        wrap = torch.where(self.degree > min(finite), self.degree.clamp(max=max(finite)) - 1, 0)
        self.start = A.ptr[:-1] + torch.cumsum(wrap, 0, dtype=torch.int32) - wrap       # rows with the wraps between
        self.place = _slices(A.ptr[:-1], self.degree + wrap, self.degree)
        self.col, self.value = A.col, A.value

    def shuffle(self, generator: torch.Generator) -> None:
        noise = torch.rand(self.A.num_edges, generator=generator, dtype=torch.float64, device=generator.device)
        order = torch.argsort(self.A.row + noise.to(self.A.device))[self.place]
        self.col = self.A.col[order]
        self.value = None if self.A.value is None else self.A.value[order]


def _windows(draws: list[tuple[_Rows, Tensor]], fanout: int, generator: torch.Generator):
    """For every (rows, nodes (n,)): entries of the rows (Σ,), `fanout` in a row for each node, and how many (n,)."""
    for rows, nodes in draws:
        if rows.single:                                     # row i is entry i: the artist or the album of a track
            yield nodes, torch.ones_like(nodes)
            continue
        start, count = rows.start.index_select(0, nodes), rows.degree.index_select(0, nodes)
        if rows.longest > fanout:
            uniform = torch.rand(len(nodes), generator=generator, device=generator.device).to(nodes.device)
            offset = uniform.mul_(count).int()              # below the degree: float32 rounds u·d down for every u < 1
            start += offset.mul_(count > fanout)
            count = count.clamp_(max=fanout)
        yield _slices(start, count), count


def _subsets(draws: list[tuple[_Rows, Tensor]], fanout: int, generator: torch.Generator):
    """As `_windows`, with `fanout` independent draws each, all relations in one run of Floyd's algorithm."""
    start = [rows.A.ptr.index_select(0, nodes) for rows, nodes in draws]
    degree = [rows.degree.index_select(0, nodes) for rows, nodes in draws]
    far = [(d > fanout).nonzero().squeeze(1) for d in degree]
    chosen = _floyd(torch.cat([d[f] for d, f in zip(degree, far)]), fanout, generator).split([len(f) for f in far])
    for s, d, f, offsets in zip(start, degree, far, chosen, strict=True):
        count = d.clamp(max=fanout)
        index = _slices(s, count)
        if len(f):
            first = (torch.cumsum(count, 0, dtype=torch.int32) - count)[f].long()
            slots = first.unsqueeze(1) + torch.arange(fanout, device=first.device)
            index.scatter_(0, slots.flatten(), (s[f].unsqueeze(1) + offsets).flatten())
        yield index, count


def _slices(start: Tensor, count: Tensor, modulo: Tensor | None = None) -> Tensor:
    """start_i, start_i + 1, … (count_i of them) for all i, one after the other; with `modulo`, offsets wrap around."""
    end = torch.cumsum(count, 0, dtype=torch.int32)
    total = int(end[-1]) if len(end) else 0
    index = torch.arange(total, dtype=torch.int32, device=start.device)
    if modulo is None:
        return index.add_(torch.repeat_interleave(start - end + count, count, output_size=total))
    index -= torch.repeat_interleave(end - count, count, output_size=total)
    index %= torch.repeat_interleave(modulo, count, output_size=total).clamp(min=1)
    return index.add_(torch.repeat_interleave(start, count, output_size=total))


def _floyd(degree: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k distinct numbers below degree_i, uniform over k-subsets, for every i with degree_i > k: (n, k) int32.

    Floyd's algorithm (Bentley & Floyd 1987, CACM 30(9)), one step for all rows at once.
    """
    if not len(degree):
        return degree.new_empty(0, min(k, 1))
    uniform = torch.rand((k, len(degree)), generator=generator, device=generator.device).to(degree.device)
    last = degree - k + torch.arange(k, dtype=torch.int32, device=degree.device).unsqueeze(1)
    chosen = uniform.mul_(last + 1).int()                                   # step j picks a number up to last_j …
    for j in range(1, k):
        repeated = (chosen[:j] == chosen[j]).any(0)
        torch.where(repeated, last[j], chosen[j], out=chosen[j])            # … or last_j itself, if that is taken
    return chosen.t()


def exclude_targets(A: Adj, rows: Tensor, cols: Tensor) -> Adj:
    """The block without the edges (rows_b ← cols_b) (B,), given as local ids.

    Why: a batch asks whether playlist p holds track t. Were the edge p – t among the messages, the answer would be read
    off it; so the batch's own links leave the blocks, in both directions, before any message is passed.
    """
    if not len(rows) or not A.num_edges:
        return A
    last_row, last_col = int(rows.max()) + 1, int(cols.max()) + 1
    edges = int(A.ptr[last_row])
    suspects = (A.col[:edges] < last_col).nonzero().squeeze(1)              # few sources are seeds themselves
    row = torch.searchsorted(A.ptr, suspects.int(), right=True) - 1
    wanted = (rows * A.shape[1] + cols).sort().values
    key = row * A.shape[1] + A.col[suspects]
    place = torch.searchsorted(wanted, key).clamp(max=len(wanted) - 1)
    hit = wanted[place] == key
    if not bool(hit.any()):
        return A
    keep = torch.ones(A.num_edges, dtype=torch.bool, device=A.device)
    keep[suspects[hit]] = False
    count = A.ptr.diff().index_add_(0, row[hit], torch.full_like(row[hit], -1, dtype=torch.int32))
    ptr = torch.zeros_like(A.ptr)
    torch.cumsum(count, 0, out=ptr[1:])
    lost = A.ptr.diff() / count.clamp(min=1)                                # those that are left stand for more
    return Adj(ptr, A.col[keep], A.shape, None if A.value is None else A.value[keep], A._row_degree, A._col_degree,
               row_scale=lambda: A.row_scale * lost)
