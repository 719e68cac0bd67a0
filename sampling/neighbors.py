"""Neighbour sampling: the part of the graph that a batch of nodes needs, as one small adjacency a relation.

From the seeds outward, every node met for the first time draws at most `fanouts[hop]` neighbours from each relation
into it, uniformly and without replacement (GraphSAGE, arXiv:1706.02216, section 3.2). Nodes of a type are numbered in
the order they are met: the seeds first, then those of hop 1, then those of hop 2. So destination rows are the first
rows (gnn/graph.py), and what a later layer needs is the upper left corner of what an earlier one needs.

An example: the seeds are playlists 4 and 9, the fan-outs [2, 2]. Playlist 4 holds tracks 30 and 11, playlist 9 holds 11
and 25; track 30 also stands in playlist 6, and track 25 in playlist 2.

                seeds     hop 1        hop 2          within[t][hop], how many nodes have been met
    playlists   4 9       –            6 2            2 2 4
    tracks      –         30 11 25     –              0 3 3

    position, the local id:  playlists 4 9 6 2 → 0 1 2 3,  tracks 30 11 25 → 0 1 2

              in, playlists ← tracks            contains, tracks ← playlists
              30 11 25                          4 9 6 2
    layer 0   1  1  ·   4                       1 · 1 ·   30          the vectors of 2 playlists and 3 tracks,
              ·  1  1   9                       1 1 · ·   11          from those of 4 playlists and 3 tracks
                                                · 1 · 1   25
    layer 1   1  1  ·   4                       (0, 2)                the vectors of the 2 seeds,
              ·  1  1   9                                             from those of 2 playlists and 3 tracks

The block of layer l of L has a row for every node within L − 1 − l hops, and a column for every node within L − l.
Playlists 6 and 2 have no row: they have drawn nothing, and are known by their inputs alone. Layer 1 has the same edges
as layer 0 where they share rows: a node draws once, not once a layer.

Two ways to draw k of a row's d neighbours:

    shuffled     rows are held in random order, shuffled anew by `shuffle()` once an epoch, and a draw is k consecutive
                 entries from a random start. Each draw alone is exactly uniform over the k-subsets; draws of the same
                 row within an epoch are dependent, as batches without replacement are. Sequential reads: the default.
    independent  Floyd's algorithm, all rows at once: every draw independent of every other.

An edge that was drawn stands for d / k (`Adj.row_scale`). With this weight a normalised sum over the drawn neighbours
estimates the sum over all without bias, and is that sum where k is at least d. That is true of the sums of one layer,
given the layer below: it is not true of attention, whose softmax runs over the drawn edges alone, nor of anything after
a ReLU, whose mean is not the ReLU of the mean.

Everything runs on the graph's device. Blocks have no fixed size, so on CUDA the host asks for a count after each
de-duplication: once a type and hop, and once a relation and hop.
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
    draw: "shuffled" or "independent". generator: makes the draws.
    Raises ValueError for another way to draw.
    """

    def __init__(self, graph: HeteroGraph, fanouts: list[int], generator: torch.Generator, draw: str = "shuffled"):
        if draw not in ("shuffled", "independent"):
            raise ValueError(f'draw {draw!r}: must be "shuffled" or "independent"')
        self.graph, self.fanouts, self.generator, self.draw = graph, list(fanouts), generator, draw
        self.lists = {relation: _Lists(A, self.fanouts) for relation, A in graph.adjs.items()}
        self.local = {t: torch.full((n,), -1, dtype=torch.int32, device=graph.device)       # local ids, −1 for none
                      for t, n in graph.num_nodes.items()}
        self.shuffle()

    def shuffle(self) -> None:
        """A new random order within every row, for shuffled draws; call it once an epoch."""
        if self.draw == "shuffled":
            for lists in self.lists.values():
                lists.shuffle(self.generator)

    def sample(self, seeds: dict[str, Tensor], targets: dict[Relation, tuple[Tensor, Tensor]] | None = None) -> Blocks:
        """seeds {type: (n,) global ids}, repeats allowed → the blocks that compute their embeddings.

        targets {relation: (dst (B,), src (B,))}: edges between seeds, as global ids, to leave out (`exclude_targets`).
        """
        nodes = {t: [] for t in self.graph.num_nodes}                       # global ids, a tensor a hop
        within = {t: [] for t in nodes}                                     # how many nodes up to each hop
        for t in nodes:
            self._meet(t, [seeds[t].int()] if t in seeds else [], nodes[t], within[t])
        asked = {t: self.local[t].index_select(0, ids).long() for t, ids in seeds.items()}
        drawn = {relation: ([], [], []) for relation in self.lists}         # cols, counts, values, a tensor a hop
        for fanout in self.fanouts:
            met = {t: [] for t in nodes}
            newest = [(lists, nodes[relation[2]][-1]) for relation, lists in self.lists.items()]
            draw = _consecutive if self.draw == "shuffled" else _independent
            for relation, (index, count) in zip(self.lists, draw(newest, fanout, self.generator)):
                lists = self.lists[relation]
                col = lists.col.index_select(0, index)
                met[relation[0]].append(col)
                value = None if lists.value is None else lists.value.index_select(0, index)
                for kept, part in zip(drawn[relation], (col, count, value)):
                    kept.append(part)
            for t in nodes:
                self._meet(t, met[t], nodes[t], within[t])
        ids = {t: torch.cat(parts).long() for t, parts in nodes.items()}
        blocks = {relation: self._block(relation, *parts, ids) for relation, parts in drawn.items()}
        for (src, name, dst), (rows, cols) in (targets or {}).items():
            rows, cols = self.local[dst].index_select(0, rows), self.local[src].index_select(0, cols)
            blocks[src, name, dst] = exclude_targets(blocks[src, name, dst], rows.long(), cols.long())
        L = len(self.fanouts)
        later = [{(src, name, dst): A.trim(within[dst][L - 1 - l], within[src][L - l])
                  for (src, name, dst), A in blocks.items()} for l in range(1, L)]
        for t, met in ids.items():
            self.local[t].index_fill_(0, met, -1)
        return Blocks(ids, [blocks, *later], asked)

    def _meet(self, t: str, parts: list[Tensor], nodes: list[Tensor], within: list[int]) -> None:
        """Number the nodes of `parts` that have no local id yet, each once: they are the next hop's `nodes`.

        Where a node occurs several times, one of its occurrences is kept. Each writes its place into the node's cell of
        `local`; whichever wrote last is the one that finds its own place there:

            ids     30 11 11 25          cell of 30: 0, of 11: 2 (or 1), of 25: 3
            place    0  1  2  3          kept: 30 (0), 11 (2), 25 (3)  →  local ids base, base + 1, base + 2
        """
        local, base = self.local[t], within[-1] if within else 0
        ids = torch.cat(parts) if parts else local.new_empty(0)
        new = torch.masked_select(ids, local.index_select(0, ids) < 0)
        where, place = new.long(), torch.arange(len(new), dtype=torch.int32, device=new.device)
        local.scatter_(0, where, place)
        unique = torch.masked_select(where, local.index_select(0, new) == place)
        local.scatter_(0, unique, place[:len(unique)] + base)
        nodes.append(unique.int())
        within.append(base + len(unique))

    def _block(self, relation: Relation, cols: list, counts: list, values: list, ids: dict[str, Tensor]) -> Adj:
        """The block of layer 0: a row for every node that drew, in the order of the hops, a column for all of `ids`."""
        src, _, dst = relation
        A = self.graph.adjs[relation]
        count = torch.cat(counts)
        ptr = torch.zeros(len(count) + 1, dtype=torch.int32, device=count.device)
        torch.cumsum(count, 0, dtype=torch.int32, out=ptr[1:])
        col = self.local[src].index_select(0, torch.cat(cols))
        rows = ids[dst][:len(count)]
        return Adj(ptr, col, (len(count), len(ids[src])), None if values[0] is None else torch.cat(values),
                   lambda: A.row_degree.index_select(0, rows), lambda: A.col_degree.index_select(0, ids[src]),
                   row_scale=lambda: A.ptr.diff().index_select(0, rows) / count.clamp(min=1))


class _Lists:
    """The neighbour lists of one relation, a row a node, laid out so that a shuffled draw is a slice: a row longer than
    the smallest fan-out is followed by its own first entries, as many as a slice from its last entry needs.

    Two nodes, with neighbours a b c d e and f g, and fan-outs of 2 and 3:

        A.ptr    0 5 7                       entry   0 1 2 3 4 5 6 7 8
        degree   5 2                         col     a b c d e a b f g
        wrap     2 0     extra entries       place   0 1 2 3 4 0 1 5 6       the edge of A (after a shuffle, the edge
        start    0 7     a row's first                                       of its new order) that an entry repeats

    Three neighbours of the first node from its fourth on are entries 3 4 5: d e a. A row that no fan-out cuts, as the
    second, is taken whole.
    """

    def __init__(self, A: Adj, fanouts: list[int]):
        self.A, self.degree = A, A.ptr.diff()
        self.longest = int(self.degree.max()) if len(self.degree) else 0
        self.single = bool((self.degree == 1).all())
        finite = [k for k in fanouts if k < FULL] or [FULL]
        wrap = torch.where(self.degree > min(finite), self.degree.clamp(max=max(finite)) - 1, 0)
        self.start = A.ptr[:-1] + torch.cumsum(wrap, 0, dtype=torch.int32) - wrap
        self.place = _slices(A.ptr[:-1], self.degree + wrap, self.degree)
        self.col, self.value = A.col, A.value

    def shuffle(self, generator: torch.Generator) -> None:
        noise = torch.rand(self.A.num_edges, generator=generator, dtype=torch.float64, device=generator.device)
        order = torch.argsort(self.A.row + noise.to(self.A.device))[self.place]         # row by row, at random within
        self.col = self.A.col[order]
        self.value = None if self.A.value is None else self.A.value[order]


def _consecutive(draws: list[tuple[_Lists, Tensor]], fanout: int, generator: torch.Generator):
    """For every (lists, nodes (n,)): entries of the lists (Σ,), `fanout` in a row for each node, and how many (n,)."""
    for lists, nodes in draws:
        if lists.single:                                    # row i is entry i: the artist or the album of a track
            yield nodes, torch.ones_like(nodes)
            continue
        start, count = lists.start.index_select(0, nodes), lists.degree.index_select(0, nodes)
        if lists.longest > fanout:
            uniform = torch.rand(len(nodes), generator=generator, device=generator.device).to(nodes.device)
            offset = uniform.mul_(count).int()              # below the degree: float32 rounds u·d down for every u < 1
            start += offset.mul_(count > fanout)
            count = count.clamp_(max=fanout)
        yield _slices(start, count), count


def _independent(draws: list[tuple[_Lists, Tensor]], fanout: int, generator: torch.Generator):
    """As `_consecutive`, with `fanout` independent draws each, all relations in one run of Floyd's algorithm."""
    start = [lists.A.ptr.index_select(0, nodes) for lists, nodes in draws]
    degree = [lists.degree.index_select(0, nodes) for lists, nodes in draws]
    far = [(d > fanout).nonzero().squeeze(1) for d in degree]                           # the nodes that must choose
    chosen = _floyd(torch.cat([d[f] for d, f in zip(degree, far)]), fanout, generator).split([len(f) for f in far])
    for s, d, f, offsets in zip(start, degree, far, chosen, strict=True):
        count = d.clamp(max=fanout)
        index = _slices(s, count)
        if len(f):
            begin = (torch.cumsum(count, 0, dtype=torch.int32) - count)[f].long()
            slots = begin.unsqueeze(1) + torch.arange(fanout, device=begin.device)
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
    """The block without the edges (rows_b ← cols_b), local ids (B,) each.

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
