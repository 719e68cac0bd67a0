"""Which nodes a picture shows: pure functions from a HeteroGraph to a small networkx graph."""
from __future__ import annotations

import math
from collections import Counter
from typing import Iterator, Mapping, Sequence

import networkx as nx
import torch

from gnn.graph import HeteroGraph

Node = tuple[str, int]                              # (type, id)


def neighbours(graph: HeteroGraph, node: Node) -> Iterator[Node]:
    """Whoever sends to `node`: as every relation has its reverse, all its neighbours."""
    node_type, i = node
    for (src, _, dst), A in graph.adjs.items():
        if dst == node_type:
            yield from ((src, j) for j in A.col[A.ptr[i]:A.ptr[i + 1]].tolist())


def degrees(graph: HeteroGraph, node_type: str) -> torch.Tensor:
    """(N_t,) links of every node of a type, of all relations."""
    return sum(A.ptr.diff() for (_, _, dst), A in graph.adjs.items() if dst == node_type)


def typical(graph: HeteroGraph, node_type: str) -> Node:
    """The node whose number of links is the median of its type's: where to start when nobody says."""
    degree = degrees(graph, node_type)
    return node_type, int((degree == degree[degree > 0].median()).nonzero()[0])


def grow(graph: HeteroGraph, start: Node, limits: Sequence[Mapping[str, int]]) -> nx.Graph:
    """A snowball, grown from `start`: hop h adds at most limits[h][type] of the neighbours of what is there, for every
    type.

    Where there are more, those with most links into the snowball stay, then those with most links at all, then the
    first by id, so that what is drawn hangs together; the others stay out for good. Nodes carry `type` and `hop`,
    and the graph `found`, the number of candidates by hop and type; every link between two of its nodes is an edge.
    """
    view = nx.Graph(found=[])
    view.add_node(start, type=start[0], hop=0)
    degree, seen = {t: degrees(graph, t) for t in graph.num_nodes}, {start}
    for hop, limit in enumerate(limits, 1):
        links = Counter(n for node in view for n in neighbours(graph, node) if n not in seen and n[0] in limit)
        best = sorted(links, key=lambda n: (-links[n], -int(degree[n[0]][n[1]]), n))
        seen.update(best)
        view.graph["found"].append({t: sum(n[0] == t for n in best) for t in limit})
        for t, count in limit.items():
            view.add_nodes_from([n for n in best if n[0] == t][:count], type=t, hop=hop)
    view.add_edges_from((n, node) for node in view for n in neighbours(graph, node) if n in view)
    return view


def columns_of(view: nx.Graph, types: Sequence[str]) -> list[list[Node]]:
    """The nodes by type, in the order of `types`; empty types are left out."""
    columns = [[n for n in view if n[0] == t] for t in types]
    return [column for column in columns if column]


def strongest_ways(graph: HeteroGraph, ways: Sequence[tuple[Node, Node, Node]], count: int) -> dict[Node, list]:
    """At most `count` of the nodes between, each with its edges, out of all ways (from, between, to) of two steps.
    Every end keeps its strongest way; then those stay that join most, where one of d links counts 1 / log(1 + d)."""
    degree = {t: degrees(graph, t) for t in {between[0] for _, between, _ in ways}}
    worth: Counter[Node] = Counter()
    for _, between, _ in ways:
        worth[between] += 1 / math.log1p(int(degree[between[0]][between[1]]))
    first = {end: max((b for _, b, e in ways if e == end), key=worth.get) for end in dict.fromkeys(e for *_, e in ways)}
    chosen = list(dict.fromkeys([*first.values(), *(between for between, _ in worth.most_common())]))[:count]
    return {b: list({edge: None for a, via, e in ways if via == b for edge in ((a, b), (b, e))}) for b in chosen}
