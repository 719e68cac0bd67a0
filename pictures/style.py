"""How every picture looks: a titled page, colours that colour-blind readers tell apart, labels that do not collide.

The colours are those of Okabe and Ito (2008), "Color Universal Design". A node type has a shape beside its colour, so
that nothing depends on colour alone. Figures are made without pyplot: no global state, no display.
"""
from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Iterable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from common.errors import InputError
from common.files import replaced

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
SUFFIXES = (".png", ".svg")


def page(title: str, subtitle: str, footer: str, height: float = 7.2) -> Figure:
    """An empty page: title and subtitle on top, the source at the bottom. `panel` divides what is between.
    The figure's label is its whole title."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white")
    figure.set_label(title)
    FigureCanvasAgg(figure)                         # measures texts before the page is drawn
    lines, left = wrap(subtitle, 125), MARGIN / WIDTH
    look = {"va": "top", "linespacing": 1.35}
    figure.text(left, 1 - 0.25 / height, clean(title, 78), size=TITLE, color=INK, weight="bold", **look)
    figure.text(left, 1 - 0.62 / height, clean("\n".join(lines)), size=BODY, color=GREY, **look)
    figure.footer = figure.text(left, 0.27 / height, clean(footer, 95), size=SMALL - 1, color=GREY, **look)
    figure.header = HEADER + LINE * len(lines)
    return figure


def panel(figure: Figure, left: float = 0, width: float = 1, bottom: float = 0, height: float = 1) -> Axes:
    """Axes on a share of the page between header and footer."""
    tall, (x, y) = figure.get_figheight(), (MARGIN, FOOTER)
    w, h = WIDTH - 2 * MARGIN, tall - figure.header - FOOTER
    return figure.add_axes(((x + left * w) / WIDTH, (y + bottom * h) / tall, width * w / WIDTH, height * h / tall))


def canvas(figure: Figure, **share) -> Axes:
    """A panel without axes, 0..1 in both directions."""
    axes = panel(figure, **share)
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


def short(text: str, length: int) -> str:
    """At most `length` characters, the last of them an ellipsis where some are missing."""
    return text if len(text) <= length else text[:length - 1].rstrip() + "…"


def clean(text: str, length: int = 10_000) -> str:
    """Short, without what the font cannot print, and with dollar signs that start no formula."""
    glyphs = _glyphs()
    text = "".join(c for c in text if c == "\n" or ord(c) in glyphs).strip()
    return short(text or "(no printable name)", length).replace("$", r"\$")


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def fit(text: Text, full: str, pixels: float) -> None:
    """Shorten a drawn text with an ellipsis until it is at most `pixels` wide."""
    length = len(full)
    text.set_text(clean(full))
    while text.get_window_extent().width > pixels and length > 1:
        length -= 1
        text.set_text(clean(full, length))


def place_labels(axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], radii: Sequence[float],
                 colours: Sequence[str] | None = None, longest: int = 24, outward: bool = False, strong: int = 0,
                 avoid: Sequence[tuple[float, float]] = (), **look) -> list[Text]:
    """Write a name beside every point where neither another name nor a point is in the way, the first names first;
    a name that finds no room is left out. points: in data units; radii: in points (1/72 inch), 0
    for a name on the point itself; outward: rather on the
    side away from (0, 0); strong: how many of the first are set in bold; avoid: more
    points to stay away from."""
    axes.autoscale_view()                           # otherwise the limits are found only when the page is drawn
    scale, inside = axes.figure.dpi / 72, axes.get_window_extent()
    taken = [Bbox.from_extents(x - r * scale, y - r * scale, x + r * scale, y + r * scale) for (x, y), r in
             zip(axes.transData.transform([*points, *avoid]), [*radii, *[1.0] * len(avoid)]) if r]
    placed = []
    for number, (point, name, r) in enumerate(zip(points, names, radii)):
        text = axes.annotate(clean(name, longest), point, (0, 0), textcoords="offset points", size=SMALL,
                             color=INK if colours is None else colours[number],
                             weight="bold" if number < strong else "normal", **look)
        centre = [] if r else [(0, 0, "center", "center")]
        for dx, dy, ha, va in centre + _around(r + 2, point if outward else (1, 0)):
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


def _around(r: float, towards: tuple[float, float]):
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


def counted(number: int, noun: str) -> str:
    """1 track, 2,000 tracks."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def check_name(path: str | Path) -> Path:
    """Raises InputError for a name that is no PNG or SVG."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {path}: pictures are written as .png or .svg; end the name with one of them")
    return Path(path)


def save(figure: Figure, path: Path) -> None:
    """Write the whole file or none; the same picture gives the same bytes."""
    with replaced(path, "wb") as file, matplotlib.rc_context({"svg.hashsalt": "picture"}):
        if path.suffix.lower() == ".svg":
            figure.savefig(file, format="svg", metadata={"Date": None})
        else:
            figure.savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
