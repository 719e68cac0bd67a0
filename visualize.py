"""Draw a run, or playlists alone, as a PNG or SVG.

    python visualize.py multipartite --data mpd.zip --out around.png          playlists alone
    python visualize.py curves --run runs/a runs/b --out curves.svg           several runs in one picture

    main ─ parse ─┬ snowball, multipartite, artist   opened → pictures.subgraphs.snowball ─┬→ pictures.networks
                  ├ recommendation                   Recommender.from_seeds, explain.paths ┘
                  ├ curves, tradeoff                 runs.load_history, evaluate.tradeoff ──→ pictures.charts
                  ├ embeddings                       Trained.readout ───────────────────────→ pictures.maps
                  └ attention                        explain.attend ────────────────────────→ pictures.attention
                    └ all: pictures.style.save

Every picture is a function here that takes its flags by name and returns a matplotlib figure. Large graphs are
sampled; titles and headings say how much of what is shown.
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable

import networkx as nx
import numpy as np
import torch
from matplotlib.figure import Figure

from common import cli
import evaluate
import mpd
from training import folder as runs
from common.errors import InputError
from recommending.explain import attend, heard, paths
from gnn.graph import HeteroGraph
from mpd.build import IN, NODE_TYPES, build_graph
from recommending.lookup import find_artist, find_playlist, find_track
from mpd.playlists import Playlists
from mpd.split import Pairs
from mpd.synthetic import genres_of
from pictures.attention import draw_attention, entropy
from pictures.charts import draw_curves, draw_tradeoff
from pictures.maps import draw_map, pca, sample, tsne
from pictures.networks import draw_columns, draw_rings
from pictures.style import check_name, counted, save, short
from pictures.subgraphs import Node, columns_of, degrees, kept, kept_at_every_hop, strongest_ways, typical
from pictures.subgraphs import snowball as grow
from ranking.metrics import pair_auc
from recommending import Recommender
from training.state import SELECT_BY
from training.trained import Trained

MOST_POINTS = 3000                          # of an exact t-SNE: its tables have the square of this many numbers
METHODS = {"tsne": "t-SNE", "pca": "PCA"}
PARTS = {"val": "validation", "test": "test"}
MOST_ROWS = 60                              # of a column
NAME = 30                                   # characters of a name in a title


# ---- arguments -------------------------------------------------------------------------------------------------------

def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="visualize.py", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="PICTURE")

    def command(draw: Callable[..., Figure], *starts: str, data: bool = False, runs: str | None = None):
        """A sub-command that may start from nodes of some types, draw data alone, or draw several runs."""
        sub = commands.add_parser(draw.__name__, help=draw.__doc__, description=draw.__doc__)
        sub.set_defaults(draw=draw)
        sub.add_argument("--out", type=picture, required=True, metavar="FILE", help="where to write: .png or .svg")
        where = sub.add_mutually_exclusive_group()
        default = "the newest, or the synthetic playlists where there is none" if data else "the newest"
        where.add_argument("--run", type=Path, nargs=runs, metavar="RUN", help=f"draw from this (default: {default})")
        if data:
            where.add_argument("--data", type=Path, help="playlists instead of a run: all that train.py --data takes")
            sub.add_argument("--slices", type=positive, help="read only the first N slices of --data, in numeric order")
        named = sub.add_mutually_exclusive_group()
        for t in starts:
            named.add_argument(f"--{t}", metavar="NAME", help=f"start from this {t}: words of its name, or its "
                               f"{'pid' if t == 'playlist' else 'URI'} (default: a typical {starts[0]})")
        return sub

    sub = command(snowball, "playlist", "track", "artist", data=True)
    sub.add_argument("--hops", type=positive, nargs="+", default=[8, 5, 8], metavar="N", help="how many nodes of each "
                     "type a hop may add, hop by hop; more hops reach further")
    sub = command(multipartite, "playlist", "track", "artist", data=True)
    sub.add_argument("--tracks", type=positive, default=16, help="at most so many; the page grows with them")
    sub.add_argument("--playlists", type=positive, default=8, help="at most so many")
    sub = command(artist, "artist", data=True)
    sub.add_argument("--tracks", type=positive, default=12, help="at most so many of the artist's")
    sub.add_argument("--playlists", type=positive, default=24, help="at most so many; the page grows with them")
    sub = command(recommendation)
    sub.add_argument("--seeds", nargs="+", metavar="TRACK", help="the songs to start from: URIs, or words of title and "
                     "artist (default: three tracks of a typical playlist)")
    sub.add_argument("--n", type=positive, default=5, help="how many recommendations")
    sub.add_argument("--between", type=positive, default=14, help="at most so many of the playlists, artists and "
                     "albums that join them, the most telling; the page grows with them")
    sub = command(curves, runs="+")
    sub.add_argument("--metrics", nargs="+", default=[SELECT_BY, "recall@100"], metavar="METRIC", help="columns of "
                     "history.csv to draw beside loss and gradient norm")
    sub = command(embeddings)
    sub.add_argument("--colour-by", choices=["genre", "artist", "album"], help="what a colour stands for (default: the "
                     "planted genre, and the artist where nothing was planted)")
    sub.add_argument("--method", choices=sorted(METHODS), default="tsne", help="tsne keeps neighbours together and "
                     "takes some ten seconds, pca keeps directions and is instant")
    sub.add_argument("--points", type=positive, default=1500, help="how many tracks to draw, at random; a quarter of "
                     "them from groups too small for a colour, where there are such")
    sub.add_argument("--seed", type=natural, default=0, help="seed of that draw")
    sub = command(attention, "playlist", "track", "artist")
    sub.add_argument("--layer", type=positive, help="whose attention to show, counted from 1 (default: the last)")
    sub.add_argument("--neighbours", type=positive, default=20, help="at most so many, the most heard first")
    sub = command(tradeoff, runs="+")
    sub.add_argument("--popularity-penalty", type=cli.finite, nargs="+", default=[0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8],
                     metavar="P", help="the points of a curve: weights of popularity against the score")
    sub.add_argument("--k", type=positive, default=10, help="length of the list that is judged")
    sub.add_argument("--split", choices=sorted(PARTS), default="val", help="which held-out part to score: val to "
                     "choose a penalty, test to report")
    return parser.parse_args(argv)


def picture(text: str) -> Path:
    try:
        return check_name(text)
    except InputError as error:                     # argparse would swallow its words
        raise argparse.ArgumentTypeError(str(error)) from error


def natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, not {text!r}")
    return int(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


# ---- what to draw from -----------------------------------------------------------------------------------------------

def opened(run: Path | None, data: Path | None, slices: int | None) -> tuple[HeteroGraph, Playlists, str]:
    """The graph to draw, its catalogue and where they are from: a run's training links, or all entries of the data."""
    if slices and not data:
        raise InputError("--slices: needs --data; a run and the synthetic playlists are drawn from whole")
    if data is None and (run is not None or any(runs.ROOT.glob("*/best.pt"))):
        trained = Trained(run)
        return trained.graph, trained.playlists, source_of(trained)
    playlists = mpd.load(data, slices=slices)
    entries = Pairs(playlists.playlist, playlists.track, playlists.position)
    return build_graph(playlists, entries), playlists, f"{data or 'data/synthetic'}, all entries{said_of(playlists)}"


def source_of(run: Trained) -> str:
    return f"{run.folder}, training links{said_of(run.playlists)}"


def said_of(playlists: Playlists) -> str:
    """What the data say of themselves, up to the colon."""
    return f".  {playlists.note.partition(':')[0]}" if playlists.note else ""


def names_of(playlists: Playlists) -> Callable[[Node], str]:
    """A node's name, and where it has none, its type and id."""
    names = playlists.names
    return lambda node: names[node[0]][node[1]] or f"{node[0]} {node[1]}"


def find(graph: HeteroGraph, playlists: Playlists, playlist: str | None = None, track: str | None = None,
         artist: str | None = None, default: str = "playlist") -> Node:
    """The node that is named, or a typical one of the default type. Raises InputError if there is none of the kind."""
    named = {"playlist": playlist, "track": track, "artist": artist}
    node_type = next((t for t, name in named.items() if name is not None), default)
    if node_type not in graph.num_nodes:
        raise InputError(f"no {node_type}s in this graph: draw another picture, or from other data")
    if playlist is not None:
        return "playlist", find_playlist(playlists, playlist)
    if track is not None:
        return "track", find_track(playlists, track, degrees(graph, "track").numpy())
    return ("artist", find_artist(playlists, artist)) if artist is not None else typical(graph, default)


def around(start: Node, view: nx.Graph, graph: HeteroGraph, playlists: Playlists) -> str:
    """The title of a neighbourhood."""
    name, everything = short(names_of(playlists)(start), NAME), sum(graph.num_nodes.values())
    pid = f" (pid {playlists.pids[start[1]]})" if start[0] == "playlist" else ""
    return f"Around the {start[0]} “{name}”{pid}: {len(view):,} of {everything:,} nodes"


# ---- the pictures ----------------------------------------------------------------------------------------------------

def snowball(run, data, slices, playlist, track, artist, hops) -> Figure:
    """What lies around a playlist, track or artist, hop by hop"""
    graph, catalogue, source = opened(run, data, slices)
    start = find(graph, catalogue, playlist, track, artist)
    view = grow(graph, start, [dict.fromkeys(graph.num_nodes, n) for n in hops])
    return draw_rings(view, names_of(catalogue), around(start, view, graph, catalogue), kept_at_every_hop(view), source)


def multipartite(run, data, slices, playlist, track, artist, tracks, playlists) -> Figure:
    """Playlists, tracks, artists and albums in columns, ordered so that few links cross"""
    graph, catalogue, source = opened(run, data, slices)
    start = find(graph, catalogue, playlist, track, artist)
    near = {"track": tracks, "playlist": playlists}
    view = grow(graph, start, [near, near, {t: tracks for t in ("artist", "album") if t in graph.num_nodes}])
    columns = [(counted(len(nodes), nodes[0][0]), nodes) for nodes in columns_of(view, NODE_TYPES)]
    return draw_columns(columns, list(view.edges), names_of(catalogue), around(start, view, graph, catalogue),
                        kept_at_every_hop(view), source, strong=[start])


def artist(run, data, slices, artist, tracks, playlists) -> Figure:
    """An artist, the artist's tracks and the playlists that hold them"""
    graph, catalogue, source = opened(run, data, slices)
    start, name = find(graph, catalogue, artist=artist, default="artist"), names_of(catalogue)
    view = grow(graph, start, [{"track": tracks}, {"playlist": playlists}])
    headings = {"artist": "1 artist", "track": kept(view, 1, "track"), "playlist": kept(view, 2, "playlist")}
    columns = [(headings[nodes[0][0]], nodes) for nodes in columns_of(view, list(headings))]
    title = f"“{short(name(start), NAME)}”: {headings['track']} in {headings['playlist']}"
    return draw_columns(columns, list(view.edges), name, title, "The artist's tracks and the playlists that hold them; "
                        "of too many, the best linked", source, strong=[start])


def recommendation(run, seeds, n, between) -> Figure:
    """A few seed songs, what is recommended for them, and the playlists, artists and albums between"""
    if max(n, between) > MOST_ROWS:
        raise InputError(f"--n {n} --between {between}: a page holds {MOST_ROWS} of each")
    music = Recommender.load(run)
    graph, plain = music.run.graph, names_of(music.playlists)
    example = graph.adjs[IN].take(torch.tensor([typical(graph, "playlist")[1]])).col[:3].tolist()
    songs = list(dict.fromkeys(music.track(t) for t in seeds or example))
    rank = {("track", each.track): f"{i}. " for i, each in enumerate(music.from_seeds(songs, n), 1)}
    ways = [(("track", way.song), (way.via, node), end) for end in rank for way in paths(graph, songs, end[1])
            for node in way.nodes]
    links = strongest_ways(graph, ways, between)

    def name(node: Node) -> str:
        title = " – ".join(filter(None, music.name(node[1]))) if node[0] == "track" else ""
        return rank.get(node, "") + (title or plain(node))
    columns = [(counted(len(songs), "seed song"), [("track", s) for s in songs]),
               (f"{len(links):,} of {len({b for _, b, _ in ways}):,} in between", list(links)),
               (f"{len(rank)} recommended, best first", list(rank))]
    title = f"{counted(len(songs), 'seed song')}, {counted(len(rank), 'recommendation')}, and what joins them"
    subtitle = (f"Recommended by {music.run.settings.model}. {len({end for *_, end in ways})} of {len(rank)} share "
                f"a playlist, artist or album with a seed song; the most telling of these are shown")
    edges = [edge for both in links.values() for edge in both]
    return draw_columns([column for column in columns if column[1]], edges, name, title, subtitle,
                        source_of(music.run), strong=columns[0][1], fixed=[2])


def curves(run, metrics) -> Figure:
    """Loss, validation metrics and gradient norm of one run or several, epoch by epoch"""
    folders = run or [runs.newest()]
    lines = []
    for folder in folders:
        rows, settings = runs.load_history(folder), runs.load_config(folder)["settings"]
        best = max(rows, key=lambda row: row.get(SELECT_BY, row["epoch"]))
        score = f", {SELECT_BY} {best[SELECT_BY]:.4f}" if SELECT_BY in best else ""
        lines.append((f"{folder.name}: {settings['model']}, {settings['loss']}, {settings['neg']} negatives; "
                      f"epoch {best['epoch']:.0f} of {len(rows)} kept{score}", rows))
    known = {column for _, rows in lines for column in rows[0]}
    for metric in set(metrics) - known:
        if SELECT_BY in known:                                  # otherwise nothing was validated, which is no mistake
            raise InputError(f"--metrics {metric}: no such column; history.csv has {', '.join(sorted(known))}")
    epochs = sum(len(rows) for _, rows in lines)
    return draw_curves(lines, [m for m in metrics if m in known], SELECT_BY,
                       f"Training of {counted(len(lines), 'run')}, {counted(epochs, 'epoch')}",
                       f"A mark is the epoch that was kept, the best by {SELECT_BY} on validation; without validation, "
                       f"the last", ", ".join(map(str, folders)))


def embeddings(run, colour_by, method, points, seed) -> Figure:
    """A map of the tracks' embeddings, coloured by genre, artist or album"""
    if points < 2:
        raise InputError(f"--points {points}: a map needs 2 at least")
    if method == "tsne" and points > MOST_POINTS:
        raise InputError(f"--points {points}: t-SNE compares all pairs, at most {MOST_POINTS:,} here; use --method pca")
    trained = Trained(run)
    catalogue, planted = trained.playlists, genres_of(trained.playlists)
    groups = {} if planted is None else {"genre": planted}                      # what: (group of every track, names)
    groups |= {"artist": (catalogue.track_artist, catalogue.artist_names),
               "album": (catalogue.track_album, catalogue.album_names)}
    groups = {what: group for what, group in groups.items() if group[0].max() >= 0}
    if colour_by and colour_by not in groups:
        raise InputError(f"--colour-by {colour_by}: these tracks have none; leave it out, or choose another")
    colour_by = colour_by or next(iter(groups), "nothing")          # tracks of which nothing is known are grey
    group, names = groups.get(colour_by, (np.full(catalogue.num_tracks, -1), []))
    largest, ids = sample(group, min(points, catalogue.num_tracks), seed)
    z = trained.readout.tracks[torch.from_numpy(ids)]
    nearer = pair_auc(trained.embeddings["track"], torch.from_numpy(group).long())
    measured = "" if nearer is None else f". P(two of one {colour_by} nearer than any two) = {nearer:.2f}"
    return draw_map((tsne(z) if method == "tsne" else pca(z)).numpy(), group[ids], largest, names,
                    f"{len(ids):,} of {catalogue.num_tracks:,} tracks as {trained.settings.model} sees them",
                    f"{METHODS[method]} of the embeddings, coloured by {colour_by}{measured}", source_of(trained))


def attention(run, playlist, track, artist, layer, neighbours) -> Figure:
    """Whom a node listens to in a run of hgt or gat, and how far attention is from uniform"""
    trained = Trained(run)
    layers = attend(trained)
    if not layers:
        raise InputError(f"{trained.folder}: {trained.settings.model} does not attend; draw a run of hgt or gat")
    layer = layer or len(layers)
    if layer > len(layers):
        raise InputError(f"--layer {layer}: {trained.folder} has {len(layers)}")
    start, name = find(trained.graph, trained.playlists, playlist, track, artist), names_of(trained.playlists)
    nodes, share = heard(trained, layers[layer - 1], *start)                                    # n nodes, (H, n)
    if not nodes:
        raise InputError(f"{start[0]} {name(start)!r}: has no neighbours in {trained.folder}; start from another")
    first = share.mean(0).argsort(descending=True, stable=True)[:neighbours]
    own, ids = trained.view.locate(start[0], torch.arange(trained.graph.num_nodes[start[0]]))
    even = [(f"layer {i}, head {head}", row[ids].numpy()) for i, each in enumerate(layers, 1)
            for head, row in enumerate(entropy(*each[own]), 1)]
    subtitle = f"{trained.settings.model}, layer {layer} of {len(layers)}, {counted(len(share), 'head')}"
    shown = counted(len(nodes), "neighbour")
    if len(first) < len(nodes):
        shown = f"{len(first)} of {shown}"
        subtitle += (f". Those shown hold {share[:, first].sum(1).mean():.0%} of the attention; were it uniform, "
                     f"{len(first) / len(nodes):.0%}")
    return draw_attention(start, [nodes[i] for i in first], share[:, first].t().numpy(), len(nodes), even, name,
                          f"Whom the {start[0]} “{short(name(start), NAME)}” listens to: {shown}", subtitle,
                          source_of(trained))


def tradeoff(run, popularity_penalty, k, split) -> Figure:
    """What novelty and coverage cost in recall, by the weight of a popularity penalty"""
    trained = [Trained(folder) for folder in run or [None]]
    lines = [(f"{each.folder.name} ({each.settings.model})", evaluate.tradeoff(each, split, popularity_penalty, [k]))
             for each in trained]
    title = (f"Recall, novelty and coverage at {k}: {counted(len(lines), 'run')}, "
             f"{counted(len(popularity_penalty), 'popularity weight')}")
    return draw_tradeoff(lines, k, title, f"Scored on the {PARTS[split]} part; the weight of popularity against the "
                         f"score is written beside every point", ", ".join(str(each.folder) for each in trained))


def main(argv: list[str] | None = None) -> Path:
    """Draw, and return the file."""
    flags = vars(parse(argv))
    draw, out = flags.pop("draw"), flags.pop("out")
    figure = draw(**flags)
    save(figure, out)
    print(f"{out}: {figure.get_label()}")
    return out


if __name__ == "__main__":
    cli.run(main)
