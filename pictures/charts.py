"""Curves over epochs, and recall against novelty and coverage."""
from __future__ import annotations

import math
from typing import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from pictures import style
from pictures.texts import Caption, clean

LINES, MARKERS = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), "-."), "osD^v"
ALONG = np.linspace(0.05, 0.95, 40)                 # where a label must not cover the line between two points
LOG_FROM = 8                                        # largest ÷ smallest value from which an axis is logarithmic


def said_of_run(name: str, settings: Mapping, rows: Sequence[dict], selected_by: str) -> str:
    """What the legend of `draw_curves` says of a run: its model, loss and negatives, and which epoch was kept."""
    best = rows[_best(rows, selected_by)]
    score = f", {selected_by} {best[selected_by]:.4f}" if selected_by in best else ""
    return (f"{name}: {settings['model']}, {settings['loss']}, {settings['neg']} negatives; "
            f"epoch {best['epoch']:.0f} of {len(rows)} kept{score}")


def draw_curves(runs: Sequence[tuple[str, list[dict]]], metrics: Sequence[str], selected_by: str,
                caption: Caption) -> Figure:
    """Loss, validation metrics and gradient norm by epoch. runs: (what the legend says, rows of history.csv); a
    dot marks the epoch that is best by `selected_by`."""
    panels = [("loss", "Training loss"), *((m, f"Validation {m}") for m in metrics), ("grad_norm", "Gradient norm")]
    down, legend_tall = math.ceil(len(panels) / 2), 0.24 * len(runs)
    figure = style.page(caption, height=2.9 * down + 1.7 + legend_tall)
    figure.legend(handles=[_line(i, label) for i, (label, _) in enumerate(runs)], loc="upper left", frameon=False,
                  fontsize=style.SMALL, labelcolor=style.INK, borderaxespad=0, borderpad=0, labelspacing=0.45,
                  bbox_to_anchor=(style.MARGIN / style.WIDTH, 1 - figure.header / figure.get_figheight()),
                  handlelength=3.2)
    figure.header += legend_tall
    for k, (column, heading) in enumerate(panels):
        axes = style.panel(figure, left=0.045 + 0.51 * (k % 2), width=0.44, bottom=1 - (k // 2 + 0.88) / down,
                           height=0.72 / down)
        style.plain(axes, heading, "epoch" if k + 2 >= len(panels) else "")
        seen = []
        for i, (_, rows) in enumerate(runs):
            rows = [row for row in rows if column in row]
            if rows:
                epochs, values = [row["epoch"] for row in rows], [row[column] for row in rows]
                seen += values
                axes.plot(epochs, values, linewidth=1.8, markevery=[_best(rows, selected_by)], **_look(i))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if max(len(rows) for _, rows in runs) == 1:
            axes.set_xlim(0.5, 1.5)
        if seen and min(seen) > 0 and max(seen) > LOG_FROM * min(seen):
            axes.set_yscale("log")
            axes.set_title(f"{heading}, logarithmic", loc="left", **style.HEADING)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    return figure


def draw_tradeoff(runs: Sequence[tuple[str, list[dict]]], k: int, caption: Caption) -> Figure:
    """Recall@k against novelty@k and against coverage@k, a point a popularity penalty, which is written beside it.
    runs: (what the legend says, rows with "popularity_penalty", "recall@k", "novelty@k", "coverage@k")."""
    figure = style.page(caption, height=6.0)
    for left, column, text in ((0.055, "novelty", f"Novelty@{k}, bits"),
                               (0.56, "coverage", f"Coverage@{k}, share of the catalogue")):
        axes = style.panel(figure, left=left, width=0.425, bottom=0.11, height=0.8)
        style.plain(axes, f"Recall against {column}", f"{text}  →  better", f"Recall@{k}  →  better")
        labels, on_lines = [], []
        for i, (_, rows) in enumerate(runs):
            xy = [(row[f"{column}@{k}"], row[f"recall@{k}"]) for row in rows]
            axes.plot(*zip(*xy), linewidth=1.6, **_look(i) | {"markersize": 6})
            labels += [style.Label(f"{row['popularity_penalty']:g}", at, 4.0, _look(i)["color"])
                       for row, at in zip(rows, xy)]
            on_lines += [tuple(np.array(a) + share * (np.array(b) - a)) for a, b in zip(xy, xy[1:]) for share in ALONG]
        axes.margins(0.1)
        style.place_labels(axes, labels, avoid=on_lines, zorder=5)
    style.legend(figure, [_line(i, label) for i, (label, _) in enumerate(runs)], min(len(runs), 3))
    return figure


def _best(rows: Sequence[dict], metric: str) -> int:
    """Which row's parameters were kept: the best by the metric, the last where nothing was validated."""
    return int(np.argmax([row[metric] for row in rows])) if metric in rows[0] else len(rows) - 1


def _look(i: int) -> dict:
    return {"color": style.PALETTE[i % len(style.PALETTE)], "linestyle": LINES[i % len(LINES)],
            "marker": MARKERS[i % len(MARKERS)], "markersize": 8, "markeredgecolor": "white", "markeredgewidth": 1.2}


def _line(i: int, label: str) -> Line2D:
    return Line2D([], [], linewidth=1.8, label=clean(label), **_look(i))
