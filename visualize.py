"""Draw a run, or playlists alone, as a PNG or SVG.

    python visualize.py multipartite --out picture.png                        from the newest run, or the synthetic data
    python visualize.py curves --run runs/a runs/b --out curves.svg           several runs in one picture

    main ─ parse ─┬ snowball, multipartite, artist    opened → pictures.subgraphs.snowball → pictures.networks
                  ├ recommendation                    recommender, explain → pictures.networks
                  ├ curves, tradeoff                  runs.load_history, evaluate.tradeoff → pictures.charts
                  ├ embeddings                        Trained.readout → pictures.maps
                  └ attention                         Trained.net → pictures.attention
         └ pictures.style.save

Every picture is a function of this file that takes its flags by name and returns the figure and a sentence on it.
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable

from matplotlib.figure import Figure

import cli
import mpd
import runs
from errors import InputError
from gnn.graph import HeteroGraph
from mpd.build import NODE_TYPES, build_graph
from mpd.playlists import Playlists
from mpd.split import Pairs
from pictures import networks, style, subgraphs
from pictures.subgraphs import Node
from trained import Trained

Picture = tuple[Figure, str]                # what is drawn, and what is in it


# ---- arguments -------------------------------------------------------------------------------------------------------

def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="visualize.py", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="PICTURE")

    def command(draw: Callable[..., Picture], starts: tuple[str, ...] = (), data: bool = False) -> argparse.ArgumentParser:
        what = draw.__doc__.split("\n\n")[0]
        sub = commands.add_parser(draw.__name__, help=what.split(".")[0], description=what)
        sub.set_defaults(draw=draw)
        sub.add_argument("--out", type=style.check_name, required=True, metavar="FILE", help="where to write: .png or .svg")
        where = sub.add_mutually_exclusive_group() if data else sub
        where.add_argument("--run", type=Path, help="run folder (default: the newest%s)" % (
            ", or the synthetic playlists where there is none" if data else ""))
        if data:
            where.add_argument("--data", type=Path, help="playlists instead of a run: all that train.py --data takes")
            sub.add_argument("--slices", type=positive, help="read only the first N slices of --data, in numeric order")
        if starts:
            named = sub.add_mutually_exclusive_group()
            for t in starts:
                named.add_argument(f"--{t}", metavar="NAME", help=f"start from this {t}: words of its name, or its "
                                   f"{'pid' if t == 'playlist' else 'URI'} (default: {DEFAULT_START[len(starts) == 1]})")
        return sub

    sub = command(snowball, ("playlist", "track", "artist"), data=True)
    sub.add_argument("--hops", type=positive, nargs="+", default=[8, 5, 8], metavar="N",
                     help="how many nodes of each type a hop may add, hop by hop; more hops reach further")
    sub = command(multipartite, ("playlist", "track", "artist"), data=True)
    sub.add_argument("--tracks", type=positive, default=16, help="how many tracks at most; the page grows with them")
    sub.add_argument("--playlists", type=positive, default=8, help="how many playlists at most")
    sub = command(artist, ("artist",), data=True)
    sub.add_argument("--tracks", type=positive, default=12, help="how many of the artist's tracks at most")
    sub.add_argument("--playlists", type=positive, default=24, help="how many playlists at most; the page grows with them")
    return parser.parse_args(argv)


DEFAULT_START = ("a playlist of typical size", "one with a typical number of tracks")


def positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


# ---- what is drawn ---------------------------------------------------------------------------------------------------

def opened(run: Path | None, data: Path | None, slices: int | None) -> tuple[HeteroGraph, Playlists, str]:
    """The graph to draw, its catalogue and where they are from: a run's training links, or all entries of the data."""
    if data is None and slices is None:
        try:
            trained = Trained(run)
            return trained.graph, trained.playlists, f"{trained.folder}, training links{said(trained.playlists)}"
        except InputError:
            if run is not None or any(runs.ROOT.glob("*/config.json")):
                raise
    playlists = mpd.load(data, slices=slices)
    everything = Pairs(playlists.playlist, playlists.track, playlists.position)
    return build_graph(playlists, everything), playlists, f"{data or 'data/synthetic'}, all entries{said(playlists)}"


def said(playlists: Playlists) -> str:
    """What the data say of themselves, up to the colon."""
    return f".  {playlists.note.partition(':')[0]}" if playlists.note else ""


def names_of(playlists: Playlists) -> Callable[[Node], str]:
    """A node's name, and where it has none, its type and id."""
    names = {t: getattr(playlists, f"{t}_names") for t in NODE_TYPES}
    return lambda node: names[node[0]][node[1]] or f"{node[0]} {node[1]}"


def find(graph: HeteroGraph, playlists: Playlists, default: str, **wanted: str | None) -> Node:
    for node_type, words in wanted.items():
        if words is not None:
            names = getattr(playlists, f"{node_type}_names").tolist()
            if words in names:
                return node_type, names.index(words)
            raise InputError(f"--{node_type} {words}: no such {node_type}")
    return subgraphs.typical(graph, default)


def snowball(run, data, slices, playlist, track, artist, hops) -> Picture:
    """What lies around a playlist, track or artist, hop by hop."""
    graph, playlists, source = opened(run, data, slices)
    start = find(graph, playlists, "playlist", playlist=playlist, track=track, artist=artist)
    view = subgraphs.snowball(graph, start, [dict.fromkeys(graph.num_nodes, n) for n in hops])
    name = names_of(playlists)
    title = f"Around the {start[0]} “{name(start)}”: {len(view)} of {sum(graph.num_nodes.values()):,} nodes"
    figure = networks.draw_rings(view, name, title, subgraphs.kept_at_every_hop(view), source)
    return figure, title


def multipartite(run, data, slices, playlist, track, artist, tracks, playlists) -> Picture:
    """Playlists, tracks, artists and albums in columns, ordered so that few links cross."""
    graph, catalogue, source = opened(run, data, slices)
    start = find(graph, catalogue, "playlist", playlist=playlist, track=track, artist=artist)
    near = {"track": tracks, "playlist": playlists}
    view = subgraphs.snowball(graph, start, [near, near, {t: tracks for t in ("artist", "album") if t in graph.num_nodes}])
    columns = [(style.counted(len(nodes), nodes[0][0]), nodes) for nodes in
               subgraphs.columns_of(view, ("playlist", "track", "artist", "album"))]
    name = names_of(catalogue)
    title = f"Around the {start[0]} “{name(start)}”: {len(view)} of {sum(graph.num_nodes.values()):,} nodes"
    return networks.draw_columns(columns, list(view.edges), name, title, subgraphs.kept_at_every_hop(view), source, [start]), title


def artist(run, data, slices, artist, tracks, playlists) -> Picture:
    """An artist, the artist's tracks and the playlists that hold them."""
    graph, catalogue, source = opened(run, data, slices)
    start = find(graph, catalogue, "artist", artist=artist)
    view = subgraphs.snowball(graph, start, [{"track": tracks}, {"playlist": playlists}])
    columns = [(style.counted(len(nodes), nodes[0][0]), nodes) for nodes in
               subgraphs.columns_of(view, ("artist", "track", "playlist"))]
    name = names_of(catalogue)
    title = f"“{name(start)}”, {len(view)} nodes"
    return networks.draw_columns(columns, list(view.edges), name, title, subgraphs.kept_at_every_hop(view), source, [start]), title


def main(argv: list[str] | None = None) -> Path:
    """Draw, and return the file."""
    flags = vars(parse(argv))
    draw, out = flags.pop("draw"), flags.pop("out")
    figure, what = draw(**flags)
    style.save(figure, out)
    print(f"{out}: {what}")
    return out


if __name__ == "__main__":
    cli.run(main)
