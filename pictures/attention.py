"""Whom a node listens to, and how far the attention of its type is from uniform."""
from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from gnn.graph import HeteroGraph
from gnn.sparse import Adj, segment_sum
from pictures import style
from pictures.networks import curve, name_box
from pictures.subgraphs import Node
from pictures.texts import Caption, counted, fit

ROW = 0.31                                          # inches a neighbour takes
UNIFORM = {"color": style.VERMILION, "linestyle": (0, (4, 2))}             # the line at uniform attention


def entropy(A: Adj, alpha: Tensor) -> Tensor:
    """How even attention is: −Σ α log α over the edges into a node, divided by log n, its value for n equal weights, so
    1 is uniform and 0 is one neighbour alone.  alpha (H, E) → (H, N_dst); NaN for nodes with fewer than two edges."""
    count = A.ptr.diff()
    even = torch.where(count > 1, count.to(alpha.dtype).log(), torch.nan)
    return segment_sum(A, -torch.special.xlogy(alpha, alpha)) / even


class Heard(NamedTuple):
    """The neighbours that a node listens to most."""
    nodes: list[Node]                               # n of them, the most heard first
    share: np.ndarray                               # (n, H), of a head's attention
    out_of: int                                     # neighbours in all

    def said(self) -> str:
        """20 of 31 neighbours."""
        return f"{len(self.nodes)} of " * (len(self.nodes) < self.out_of) + counted(self.out_of, "neighbour")

    def said_of_share(self) -> str:
        """A sentence on the share of those that are shown, where they are not all."""
        if len(self.nodes) == self.out_of:
            return ""
        return (f". Those shown hold {self.share.sum(0).mean():.0%} of the attention; were it uniform, "
                f"{len(self.nodes) / self.out_of:.0%}")


def most_heard(nodes: Sequence[Node], share: Tensor, count: int) -> Heard:
    """At most `count` of a node's neighbours, those with the largest mean share (H, n) of its heads' attention."""
    first = share.mean(0).argsort(descending=True, stable=True)[:count]
    return Heard([nodes[i] for i in first], share[:, first].t().numpy(), len(nodes))


def entropies(view: HeteroGraph, layers: Sequence[dict[str, tuple[Adj, Tensor]]], node_type: str,
              count: int) -> list[tuple[str, np.ndarray]]:
    """("layer 1, head 1", the `entropy` of every node of a type (N,)), … for every head of every layer. view: the graph
    as the model sees it; layers: its attention, {type: (A, α)} each; count: how many nodes the type has."""
    own, ids = view.locate(node_type, torch.arange(count))
    return [(f"layer {i}, head {head}", row[ids].numpy()) for i, layer in enumerate(layers, 1)
            for head, row in enumerate(entropy(*layer[own]), 1)]


def draw_attention(start: Node, heard: Heard, evenness: Sequence[tuple[str, np.ndarray]],
                   name_of: Callable[[Node], str], caption: Caption) -> Figure:
    """Left: a node, its neighbours, and the share of every head, beside 1 / out_of, the uniform share.
    Right: for every (what, entropies (N,)) of `evenness` the median, quartiles, and 5th and 95th percentile."""
    nodes, share, uniform = heard.nodes, heard.share, 1 / heard.out_of
    n = len(nodes)
    figure = style.page(caption, height=max(5.2, ROW * max(n, 0.9 * len(evenness)) + 3.0))
    tall = {"bottom": 0.065, "height": 0.87}
    fan, bars = style.canvas(figure, width=0.47, **tall), style.panel(figure, left=0.48, width=0.19, **tall)
    boxes = style.panel(figure, left=0.785, width=0.205, **tall)
    y, mean = 1 - (np.arange(n) + 0.5) / n, share.mean(1)

    for node, height, weight in zip(nodes, y, mean):
        curve(fan, (0.36, 0.5), (0.52, height), style.TYPE_COLOUR[node[0]], min(2.5 * weight * heard.out_of, 9))
        fan.plot(0.54, height, style.TYPE_MARKER[node[0]], color=style.TYPE_COLOUR[node[0]], markersize=7, zorder=3)
        text = fan.text(0.565, height, "", size=style.SMALL, color=style.INK, va="center_baseline")
        fit(text, name_of(node) + " (itself)" * (node == start), 0.42 * fan.get_window_extent().width)
    name_box(fan, start, name_of(start), (0, 0.5), 0.36, True)

    style.plain(bars, "Share of attention", "here")
    bars.barh(y, mean, height=0.62 / n, color=[style.TYPE_COLOUR[node[0]] for node in nodes], alpha=0.35, linewidth=0)
    for head in range(share.shape[1]):
        bars.plot(share[:, head], y, "|", color=style.INK, markersize=7, markeredgewidth=1.1, zorder=3)
    bars.axvline(uniform, linewidth=1.3, **UNIFORM)
    bars.set(ylim=(0, 1), yticks=[], xlim=(0, 1.08 * max(share.max(), uniform)))
    bars.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    bars.xaxis.set_major_locator(style.few_ticks())

    style.plain(boxes, "Entropy ÷ uniform", f"{evenness[0][1].size:,} {start[0]}s")
    _draw_boxes(boxes, evenness)
    boxes.axvline(1, linewidth=1.3, **UNIFORM)

    types = [style.dot(style.TYPE_COLOUR[t], style.TYPE_MARKER[t], t) for t in dict.fromkeys(node[0] for node in nodes)]
    style.legend(figure, [*types, Patch(color=style.GREY, alpha=0.35, label="mean"),
                          Line2D([], [], color=style.INK, marker="|", linestyle="", markersize=8, label="a head"),
                          Line2D([], [], label="uniform", **UNIFORM)])
    return figure


def _draw_boxes(axes: Axes, rows: Sequence[tuple[str, np.ndarray]]) -> None:
    """Row under row: from the 5th to the 95th percentile a line, from quartile to quartile a box, the median a mark."""
    at = -np.arange(len(rows))
    for height, (_, values) in zip(at, rows):
        low, q1, median, q3, high = np.nanquantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
        axes.plot([low, high], [height] * 2, color=style.GREY, linewidth=1)
        axes.barh(height, q3 - q1, left=q1, height=0.5, color=style.SKY, alpha=0.7, zorder=2)
        axes.plot([median] * 2, [height - 0.25, height + 0.25], color=style.INK, linewidth=1.8, zorder=3)
    axes.set(xlim=(0, 1.03), ylim=(at[-1] - 0.7, 0.7), yticks=at, yticklabels=[what for what, _ in rows])
    axes.set_xticks([0, 0.5, 1])
