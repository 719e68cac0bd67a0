"""Where nodes go: columns ordered to cross little, rings around a start."""
from __future__ import annotations

from typing import Iterable, Sequence

import networkx as nx
import numpy as np

from pictures.subgraphs import Node

Columns = list[list[Node]]
SWEEPS = 12
BEND = 0.35                                          # of a name's room


def heights(columns: Columns) -> dict[Node, float]:
    """Every column spread over 0..1, the first node on top; a bend takes less room than a name."""
    at = {}
    for column in columns:
        room = np.array([BEND if n[0] == "bend" else 1.0 for n in column])
        at |= dict(zip(column, 1 - (room.cumsum() - room / 2) / room.sum()))
    return at


def crossings(columns: Columns, edges: Iterable[tuple[Node, Node]]) -> int:
    """How many pairs of edges between the same two columns cross."""
    y, column = heights(columns), {n: c for c, nodes in enumerate(columns) for n in nodes}
    bundles: dict[tuple[int, int], list] = {}
    for a, b in edges:
        if column[a] != column[b]:
            a, b = sorted((a, b), key=column.get)
            bundles.setdefault((column[a], column[b]), []).append((y[a], y[b]))
    ends = [np.array(bundle).T for bundle in bundles.values()]                         # (2, E) each
    return sum(int((np.subtract.outer(a, a) * np.subtract.outer(b, b) < 0).sum()) // 2 for a, b in ends)


def order_columns(columns: Columns, edges: Iterable[tuple[Node, Node]], fixed: Sequence[int] = ()) -> Columns:
    """The barycentre heuristic (Sugiyama et al. 1981): again and again, sort one column by the mean height of the
    nodes' neighbours elsewhere, and keep the order that crosses least, so never one worse than the given. fixed:
    numbers of the columns whose order says something and stays."""
    links = nx.Graph(list(edges))
    now = best = [list(column) for column in columns]
    fewest = crossings(best, links.edges)
    for sweep in range(SWEEPS):
        for c in [c for c in range(len(now))[::1 if sweep % 2 == 0 else -1] if c not in fixed]:
            y = heights(now)
            own = set(now[c])

            def barycentre(node: Node) -> float:
                others = [y[n] for n in links[node] if n not in own] if node in links else []
                return -float(np.mean(others)) if others else -y[node]
            now = [sorted(column, key=barycentre) if k == c else column for k, column in enumerate(now)]
            if (count := crossings(now, links.edges)) < fewest:
                best, fewest = now, count
    return best


def with_bends(columns: Columns, edges: Iterable[tuple[Node, Node]]) -> tuple[Columns, list[tuple[Node, Node]]]:
    """Edges only between columns side by side: one that skips a column goes through a bend there, ("bend", …), which it
    shares with the others to the same node."""
    columns, short = [list(column) for column in columns], {}
    column = {n: c for c, nodes in enumerate(columns) for n in nodes}
    for a, b in (sorted(edge, key=column.get) for edge in edges):
        for c in range(column[a] + 1, column[b]):
            bend = ("bend", (c, b))
            if bend not in columns[c]:
                columns[c].append(bend)
            short[a, bend] = None
            a = bend
        short[a, b] = None
    return columns, list(short)


def rings(view: nx.Graph) -> dict[Node, tuple[float, float]]:
    """Hop by hop around the start, which is at (0, 0): hop h lies on the circle of radius h, evenly spaced. Ring after
    ring, again and again, is sorted by the mean direction of the nodes' neighbours; the order with the shortest edges
    stays."""
    hops = nx.get_node_attributes(view, "hop")
    circles = [[n for n in view if hops[n] == hop] for hop in range(1, max(hops.values()) + 1)]
    angle = {n: 2 * np.pi * k / len(ring) for ring in circles for k, n in enumerate(ring)}
    edges = [(a, b) for a, b in view.edges if hops[a] and hops[b]]
    best, shortest = angle, np.inf
    for sweep in range(SWEEPS):
        for ring in circles:
            at = {n: np.exp(1j * angle[n]) for n in angle}
            pull = {n: sum((at[m] for m in view[n] if hops[m]), 1e-9 * at[n]) for n in ring}
            order = sorted(ring, key=lambda n: np.angle(pull[n]))
            slots = 2 * np.pi * np.arange(len(ring)) / max(len(ring), 1)
            turn = np.angle(sum(pull[n] / abs(pull[n]) * np.exp(-1j * s) for n, s in zip(order, slots)))
            angle = angle | dict(zip(order, slots + turn))
        length = sum(1 - np.cos(angle[a] - angle[b]) for a, b in edges)
        if length < shortest:
            best, shortest = angle, length
    return {n: (hops[n] * np.cos(best[n]), hops[n] * np.sin(best[n])) if hops[n] else (0.0, 0.0) for n in view}
