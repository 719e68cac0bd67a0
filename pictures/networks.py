"""Drawings of small graphs: rings around a start, and columns of names joined by curves."""
from __future__ import annotations

from typing import Callable, Sequence

import networkx as nx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from pictures import style
from pictures.layout import BEND, heights, order_columns, rings, with_bends
from pictures.subgraphs import Node
from pictures.texts import Caption, clean, counted, fit

ROW = 0.29                                          # inches that a name in a column takes
BEFORE, AFTER = 34, 12                              # pixels of a box before and after its name
LINKS = 0.08                                        # the share of the page between two columns, at least
DOTTED = (0, (2, 4))


def draw_rings(view: nx.Graph, name_of: Callable[[Node], str], caption: Caption) -> Figure:
    """A snowball: its start in the middle, hop h on ring h, a shape and a colour a type."""
    figure = style.page(caption, height=8.0)
    axes = style.canvas(figure)
    at, hops = rings(view), nx.get_node_attributes(view, "hop")
    outer = max(hops.values()) + 0.3
    axes.set(xlim=(-outer, outer), ylim=(-outer, outer))
    for hop in range(1, max(hops.values()) + 1):
        axes.add_patch(Circle((0, 0), hop, facecolor="none", edgecolor=style.PALE, linewidth=0.8, linestyle=DOTTED))
    for a, b in view.edges:
        axes.plot(*zip(at[a], at[b]), color=_colour(a, b), alpha=0.45, zorder=1,
                  linewidth=1.9 if 0 in (hops[a], hops[b]) else 1.0)
    radius = {n: 9.0 if hops[n] == 0 else max(6.5 - 0.7 * hops[n], 4) for n in view}                   # in points
    for t in dict.fromkeys(nx.get_node_attributes(view, "type").values()):
        nodes = [n for n in view if n[0] == t]
        axes.scatter(*zip(*(at[n] for n in nodes)), s=[(2 * radius[n]) ** 2 for n in nodes],
                     marker=style.TYPE_MARKER[t], color=style.TYPE_COLOUR[t], zorder=3,
                     edgecolors=[style.INK if hops[n] == 0 else "white" for n in nodes],
                     linewidths=[2 if hops[n] == 0 else 0.8 for n in nodes])
    labels = [style.Label(name_of(n), at[n], radius[n], bold=hops[n] == 0) for n in sorted(view, key=hops.get)]
    written = style.place_labels(axes, labels, outward=True, path_effects=style.HALO, zorder=4)
    if len(written) < len(labels):
        missing = counted(len(labels) - len(written), "name")
        figure.footer.set_text(clean(f"{missing} left out for want of room.  {caption.source}", 95))
    style.legend(figure, style.type_legend(view))
    return figure


def draw_columns(columns: Sequence[tuple[str, list[Node]]], edges: Sequence[tuple[Node, Node]],
                 name_of: Callable[[Node], str], caption: Caption, strong: Sequence[Node] = (),
                 fixed: Sequence[int] = ()) -> Figure:
    """Columns of names, ordered to cross little, a curve an edge. columns: (heading, nodes); strong: nodes to mark;
    fixed: numbers of the columns to leave in their order."""
    bent, links = with_bends([nodes for _, nodes in columns], edges)
    ordered = order_columns(bent, links, fixed)
    rows = max(sum(BEND if n[0] == "bend" else 1 for n in nodes) for nodes in ordered)
    figure = style.page(caption, height=max(4.5, ROW * rows + 2.4))
    axes = style.canvas(figure)
    headings = [clean(heading) for heading, _ in columns]
    wide = _widths(axes, headings, [[name_of(node) for node in nodes] for _, nodes in columns],
                   set(map(name_of, strong)))
    gap = (1 - sum(wide)) / max(len(wide) - 1, 1)
    left = [sum(wide[:c]) + c * gap for c in range(len(wide))]
    top = 1 - 0.35 * style.DPI / axes.get_window_extent().height           # below the headings
    y = {node: top * h for node, h in heights(ordered).items()}
    column = {node: c for c, nodes in enumerate(ordered) for node in nodes}
    for a, b in links:
        curve(axes, (left[column[a]] + wide[column[a]], y[a]), (left[column[b]], y[b]), _colour(b, a),
              1.8 if {a, b} & set(strong) else 1.1)
    for heading, nodes, x, w in zip(headings, ordered, left, wide):
        axes.text(x, 1, heading, size=style.BODY, weight="bold", color=style.INK, va="top")
        for node in nodes:
            if node[0] == "bend":
                axes.plot([x, x + w], [y[node]] * 2, color=style.TYPE_COLOUR[_type(node)], linewidth=1.1, alpha=0.55,
                          zorder=1)
            else:
                name_box(axes, node, name_of(node), (x, y[node]), w, node in strong)
    if any(len({t for t, _ in nodes}) > 1 for _, nodes in columns):            # otherwise the headings say it
        style.legend(figure, style.type_legend(node for _, nodes in columns for node in nodes))
    return figure


def _widths(axes: Axes, headings: Sequence[str], names: Sequence[Sequence[str]], strong: set[str]) -> list[float]:
    """Shares of the page for columns of names: as wide as their longest name or heading, or less if they would fill the
    page."""
    page, wanted = axes.get_window_extent().width, []
    for heading, column in zip(headings, names):
        drawn = [axes.text(0, 0, heading, size=style.BODY, weight="bold")]
        drawn += [axes.text(0, 0, clean(name), size=style.SMALL, weight="bold" if name in strong else "normal")
                 for name in column]
        wanted.append((max(text.get_window_extent().width for text in drawn) + BEFORE + AFTER) / page)
        for text in drawn:
            text.remove()
    return [w * min(1, (1 - LINKS * (len(names) - 1)) / sum(wanted)) for w in wanted]


def _type(node: Node) -> str:
    """The type of a node; of a bend, that of the node it leads to."""
    return node[1][1][0] if node[0] == "bend" else node[0]


def _colour(*ends: Node) -> str:
    """The colour of a link: that of the first of its ends that is no track."""
    return style.TYPE_COLOUR[next(t for t in map(_type, ends) if t != "track")]


def name_box(axes: Axes, node: Node, name: str, at: tuple[float, float], wide: float, strong: bool) -> None:
    """A node as a box with its shape and its name. at: the middle of its left side."""
    (x, y), page, colour = at, axes.get_window_extent(), style.TYPE_COLOUR[node[0]]
    tall = 0.76 * ROW * style.DPI / page.height
    axes.add_patch(FancyBboxPatch((x, y - tall / 2), wide, tall, mutation_aspect=page.width / page.height,
                                  boxstyle=f"round,pad=0,rounding_size={5 / page.width}", facecolor="white", zorder=3,
                                  linewidth=1.8 if strong else 0.9, edgecolor=style.INK if strong else colour,
                                  clip_on=False))
    axes.plot(x + 0.5 * BEFORE / page.width, y, style.TYPE_MARKER[node[0]], color=colour, markersize=6.5, zorder=4)
    text = axes.text(x + BEFORE / page.width, y, "", size=style.SMALL, color=style.INK, va="center_baseline",
                     weight="bold" if strong else "normal", zorder=4)
    fit(text, name, wide * page.width - BEFORE - AFTER + 1)


def curve(axes: Axes, start, end, colour: str, width: float) -> None:
    """A link that leaves and arrives horizontally."""
    (x0, y0), (x1, y1) = start, end
    middle = (x0 + x1) / 2
    axes.add_patch(PathPatch(Curve([start, (middle, y0), (middle, y1), end], [1, 4, 4, 4]), facecolor="none",
                             edgecolor=colour, linewidth=width, alpha=0.55, zorder=1))
