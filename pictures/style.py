"""How every picture looks: a titled page, colours that colour-blind readers tell apart, labels that do not collide.

The colours are those of Okabe and Ito (2008), "Color Universal Design". A node type has a shape beside its colour, so
that nothing depends on colour alone. Figures are made without pyplot: no global state, no display.
"""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from textwrap import wrap
from typing import Iterable, NamedTuple, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from common.files import replaced
from pictures.texts import Caption, clean, counted, fit

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)      # yellow is too faint on white
TYPE_COLOUR = {"playlist": BLUE, "track": ORANGE, "artist": GREEN, "album": PURPLE}
TYPE_MARKER = {"playlist": "s", "track": "o", "artist": "^", "album": "D"}
INK, GREY, PALE = "#1F2933", "#616E7C", "#CBD2D9"

DPI, WIDTH = 150, 1600 / 150                                        # inches
TITLE, BODY, SMALL = 16, 10.5, 9.5                                  # points
HEADING = {"size": BODY, "weight": "bold", "color": INK, "pad": 8}
MARGIN, HEADER, FOOTER, LINE = 0.35, 0.8, 0.5, 0.22                 # inches
HALO = [withStroke(linewidth=2.5, foreground="white")]       # behind names that lie on lines or points
LONGEST = 24                                                # characters of a name beside a point


def page(caption: Caption, height: float) -> Figure:
    """An empty page, `height` inches tall, with its caption. `panel` divides what is between title and source.
    The figure's label is its whole title."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    figure.set_label(caption.title)
    FigureCanvasAgg(figure)                         # measures texts before the page is drawn
    lines, left = wrap(caption.subtitle, 125), MARGIN / WIDTH
    look = {"va": "top", "linespacing": 1.35}
    figure.text(left, 1 - 0.25 / height, clean(caption.title, 78), size=TITLE, color=INK, weight="bold", **look)
    figure.text(left, 1 - 0.62 / height, clean("\n".join(lines)), size=BODY, color=GREY, **look)
    figure.footer = figure.text(left, 0.27 / height, clean(caption.source, 95), size=SMALL - 1, color=GREY, **look)
    figure.header = HEADER + LINE * len(lines)
    return figure


def panel(figure: Figure, left: float = 0, width: float = 1, bottom: float = 0, height: float = 1) -> Axes:
    """Axes on a share of the page between header and footer."""
    tall, (x, y) = figure.get_figheight(), (MARGIN, FOOTER)
    w, h = WIDTH - 2 * MARGIN, tall - figure.header - FOOTER
    return figure.add_axes(((x + left * w) / WIDTH, (y + bottom * h) / tall, width * w / WIDTH, height * h / tall))


def canvas(figure: Figure, **place) -> Axes:
    """A panel without axes, 0..1 in both directions."""
    axes = panel(figure, **place)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")
    return axes


def plain(axes: Axes, title: str, xlabel: str = "", ylabel: str = "") -> None:
    """A chart with a heading, two spines and a faint grid."""
    axes.set_title(title, loc="left", **HEADING)
    axes.set_xlabel(xlabel, size=SMALL, color=GREY)
    axes.set_ylabel(ylabel, size=SMALL, color=GREY)
    axes.tick_params(which="both", labelsize=SMALL, colors=GREY, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PALE)
    axes.grid(color=PALE, linewidth=0.6, alpha=0.6)
    axes.set_axisbelow(True)


class Label(NamedTuple):
    """A name for a point. at: in data units; radius: the point's, in points (1/72 inch), 0 for a name on the point
    itself."""
    name: str
    at: tuple[float, float]
    radius: float
    colour: str = INK
    bold: bool = False


def place_labels(axes: Axes, labels: Sequence[Label], avoid: Sequence[tuple[float, float]] = (), outward: bool = False,
                 **look) -> list[Text]:
    """Write every name beside its point where neither another name nor a point is in the way, the first names first; a
    name that finds no room is left out. avoid: more points to stay away from; outward: rather on the side away from
    (0, 0). Returns what was written."""
    axes.autoscale_view()                           # otherwise the limits are found only when the page is drawn
    scale, inside = axes.figure.dpi / 72, axes.get_window_extent()
    points = [label.at for label in labels] + list(avoid)
    radii = [label.radius for label in labels] + [1.0] * len(avoid)
    taken = [Bbox.from_extents(x - r * scale, y - r * scale, x + r * scale, y + r * scale)
             for (x, y), r in zip(axes.transData.transform(points), radii) if r]
    placed = []
    for name, at, radius, colour, bold in labels:
        text = axes.annotate(clean(name, LONGEST), at, (0, 0), textcoords="offset points", size=SMALL, color=colour,
                             weight="bold" if bold else "normal", **look)
        centre = [] if radius else [(0, 0, "center", "center")]
        for dx, dy, ha, va in centre + _places(radius + 2, at if outward else (1, 0)):
            text.set(position=(dx, dy), ha=ha, va=va)
            box = text.get_window_extent().padded(1)
            if inside.containsx(box.x0) and inside.containsx(box.x1) and inside.containsy(box.y0) \
                    and inside.containsy(box.y1) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                placed.append(text)
                break
        else:
            text.remove()
    return placed


def _places(r: float, towards: tuple[float, float]):
    """Offsets and alignments to try: near ones first, of these the ones that point `towards` somewhere."""
    sides = [(1, 0, "left", "center"), (-1, 0, "right", "center"), (0, 1, "center", "bottom"), (0, -1, "center", "top"),
             (0.7, 0.7, "left", "bottom"), (-0.7, 0.7, "right", "bottom"), (0.7, -0.7, "left", "top"),
             (-0.7, -0.7, "right", "top")]
    sides.sort(key=lambda side: -(side[0] * towards[0] + side[1] * towards[1]))
    return [(d * x, d * y, ha, va) for d in (r, r + 5, r + 10) for x, y, ha, va in sides]


def type_legend(nodes: Iterable[tuple[str, int]]) -> list[Line2D]:
    """One handle a type of the nodes, with their number."""
    counts = Counter(t for t, _ in nodes)
    return [dot(TYPE_COLOUR[t], TYPE_MARKER[t], counted(counts[t], t)) for t in TYPE_COLOUR if counts[t]]


def dot(colour: str, marker: str, label: str, size: float = 8) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=size, markeredgecolor="white",
                  label=clean(label))


def legend(figure: Figure, handles: Sequence[Line2D], columns: int | None = None) -> None:
    """In the footer's line, on the right; the footer keeps what room is left."""
    key = figure.legend(handles=handles, loc="lower right", ncols=columns or len(handles), frameon=False,
                        fontsize=SMALL, labelcolor=INK, handletextpad=0.3, columnspacing=1.4, borderaxespad=0,
                        bbox_to_anchor=(1 - MARGIN / WIDTH, 0.12 / figure.get_figheight()))
    figure.draw_without_rendering()                 # a legend finds its place only then
    room = key.get_window_extent().x0 - figure.footer.get_window_extent().x0
    fit(figure.footer, figure.footer.get_text(), room - 20)


def few_ticks() -> MaxNLocator:
    return MaxNLocator(3, steps=[1, 2, 5, 10])


def save(figure: Figure, path: Path) -> None:
    """Write the whole file or none; the same picture gives the same bytes."""
    with replaced(path, "wb") as file, matplotlib.rc_context({"svg.hashsalt": "picture"}):
        if path.suffix.lower() == ".svg":
            figure.savefig(file, format="svg", metadata={"Date": None})
        else:
            figure.savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
