"""Whom a node listens to, and how far the attention of its type is from uniform."""
from __future__ import annotations

from typing import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from gnn.sparse import Adj, segment_sum
from pictures import style
from pictures.networks import curve, name_box
from pictures.subgraphs import Node

ROW = 0.31                                          # inches a neighbour takes
DASHED = (0, (4, 2))


def entropy(A: Adj, alpha: Tensor) -> Tensor:
    """How even attention is: −Σ α log α over the edges into a node, divided by log n, its value for n equal weights, so
    1 is uniform and 0 is one neighbour alone.  alpha (H, E) → (H, N_dst); NaN for nodes with fewer than two edges."""
    count = A.ptr.diff()
    even = torch.where(count > 1, count.to(alpha.dtype).log(), torch.nan)
    return segment_sum(A, -torch.special.xlogy(alpha, alpha)) / even


def draw_attention(start: Node, heard: Sequence[Node], share: np.ndarray, out_of: int,
                   evenness: Sequence[tuple[str, np.ndarray]], name: Callable[[Node], str], title: str, subtitle: str,
                   footer: str) -> Figure:
    """Left: a node, its neighbours, and the share of every head, beside 1 / out_of, the uniform share. share: (n, H).
    Right: for every (what, entropies (N,)) the median, quartiles, and 5th and 95th percentile."""
    n = len(heard)
    figure = style.page(title, subtitle, footer, height=max(5.2, ROW * max(n, 0.9 * len(evenness)) + 3.0))
    tall = {"bottom": 0.065, "height": 0.87}
    fan, bars = style.canvas(figure, width=0.47, **tall), style.panel(figure, left=0.48, width=0.19, **tall)
    y, mean = 1 - (np.arange(n) + 0.5) / n, share.mean(1)
    for node, at, weight in zip(heard, y, mean):
        curve(fan, (0.36, 0.5), (0.52, at), style.TYPE_COLOUR[node[0]], min(2.5 * weight * out_of, 9))
        fan.plot(0.54, at, style.TYPE_MARKER[node[0]], color=style.TYPE_COLOUR[node[0]], markersize=7, zorder=3)
        text = fan.text(0.565, at, "", size=style.SMALL, color=style.INK, va="center_baseline")
        style.fit(text, name(node) + " (itself)" * (node == start), 0.42 * fan.get_window_extent().width)
    name_box(fan, start, name(start), 0, 0.5, 0.36, True)

    style.plain(bars, "Share of attention", "here")
    bars.barh(y, mean, height=0.62 / n, color=[style.TYPE_COLOUR[node[0]] for node in heard], alpha=0.35, linewidth=0)
    for head in range(share.shape[1]):
        bars.plot(share[:, head], y, "|", color=style.INK, markersize=7, markeredgewidth=1.1, zorder=3)
    bars.axvline(1 / out_of, color=style.VERMILION, linestyle=DASHED, linewidth=1.3)
    bars.set(ylim=(0, 1), yticks=[], xlim=(0, 1.08 * max(share.max(), 1 / out_of)))
    bars.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    bars.xaxis.set_major_locator(style.few_ticks())

    boxes = style.panel(figure, left=0.785, width=0.205, **tall)
    style.plain(boxes, "Entropy ÷ uniform", f"{evenness[0][1].size:,} {start[0]}s")
    quantiles = [np.nanquantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]) for _, values in evenness]
    at = -np.arange(len(evenness))
    for height, (low, q1, median, q3, high) in zip(at, quantiles):
        boxes.plot([low, high], [height] * 2, color=style.GREY, linewidth=1)
        boxes.barh(height, q3 - q1, left=q1, height=0.5, color=style.SKY, alpha=0.7, zorder=2)
        boxes.plot([median] * 2, [height - 0.25, height + 0.25], color=style.INK, linewidth=1.8, zorder=3)
    boxes.axvline(1, color=style.VERMILION, linestyle=DASHED, linewidth=1.3)
    boxes.set(xlim=(0, 1.03), ylim=(at[-1] - 0.7, 0.7), yticks=at, yticklabels=[what for what, _ in evenness])
    boxes.set_xticks([0, 0.5, 1])
    types = [style.dot(style.TYPE_COLOUR[t], style.TYPE_MARKER[t], t) for t in dict.fromkeys(node[0] for node in heard)]
    style.legend(figure, [*types, Patch(color=style.GREY, alpha=0.35, label="mean"),
                          Line2D([], [], color=style.INK, marker="|", linestyle="", markersize=8, label="a head"),
                          Line2D([], [], color=style.VERMILION, linestyle=DASHED, label="uniform")])
    return figure
