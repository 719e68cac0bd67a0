"""What a picture says: its caption, counts and names, in words that fit and that the font can print."""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Callable

import networkx as nx
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text

from gnn.graph import HeteroGraph
from mpd.playlists import Playlists
from pictures.subgraphs import Node

NAME = 30                                           # characters of a name in a title


@dataclass(frozen=True)
class Caption:
    """What stands around a picture: title and subtitle on top, the source of what it shows at the bottom."""
    title: str
    subtitle: str
    source: str


# ---- words for what is shown -----------------------------------------------------------------------------------------

def counted(number: int, noun: str) -> str:
    """1 track, 2,000 tracks."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def quoted(name: str) -> str:
    """A name in a title."""
    return f"“{short(name, NAME)}”"


def names_of(catalogue: Playlists) -> Callable[[Node], str]:
    """A node's name, and where it has none, its type and id."""
    names = catalogue.names
    return lambda node: names[node[0]][node[1]] or f"{node[0]} {node[1]}"


def source_of(where: str, catalogue: Playlists) -> str:
    """A picture's source: where its data lie, and what they say of themselves, up to the colon."""
    return f"{where}.  {catalogue.note.partition(':')[0]}" if catalogue.note else where


def around(start: Node, view: nx.Graph, graph: HeteroGraph, catalogue: Playlists, source: str) -> Caption:
    """The caption of a snowball, `view`, that was grown in a graph."""
    pid = f" (pid {catalogue.pids[start[1]]})" if start[0] == "playlist" else ""
    return Caption(f"Around the {start[0]} {quoted(names_of(catalogue)(start))}{pid}: {len(view):,} of "
                   f"{sum(graph.num_nodes.values()):,} nodes", kept_at_every_hop(view), source)


def kept(view: nx.Graph, hop: int, node_type: str) -> str:
    """What a hop of `grow` took of a type, and out of how many: "8 of 194 playlists"."""
    count = sum(data["hop"] == hop and data["type"] == node_type for _, data in view.nodes(data=True))
    found = view.graph["found"][hop - 1][node_type]
    return f"{count:,}{f' of {found:,}' if found > count else ''} {node_type}{'' if found == 1 else 's'}"


def kept_at_every_hop(view: nx.Graph) -> str:
    """What was taken hop by hop, and out of how many, in a line."""
    hops = [f"hop {hop}: " + ", ".join(kept(view, hop, t) for t, n in found.items() if n)
            for hop, found in enumerate(view.graph["found"], 1) if any(found.values())]
    some = "; the best linked are shown" if any(" of " in hop for hop in hops) else ""
    return " · ".join(hop.replace(" ", "\N{NO-BREAK SPACE}") for hop in hops) + some


# ---- words that fit --------------------------------------------------------------------------------------------------

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
