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

import torch
from matplotlib.figure import Figure

import cli
import evaluate
import mpd
import pictures.attention
import runs
from errors import InputError
from explain import attend, heard, paths
from gnn.graph import HeteroGraph
from mpd.build import IN, NODE_TYPES, build_graph
from mpd.lookup import find_artist, find_playlist, find_track
from mpd.playlists import Playlists
from mpd.split import Pairs
from mpd.synthetic import genres_of, replanted
from pictures import charts, maps, networks, style, subgraphs
from pictures.subgraphs import Node, columns_of, degrees, kept, kept_at_every_hop, typical
from ranking.metrics import pair_auc
from recommender import Recommender
from train import SELECT_BY
from trained import Trained

MOST_POINTS = 3000                          # of an exact t-SNE: its tables have the square of this many numbers
PARTS = {"val": "validation", "test": "test"}
METHODS = {"tsne": "t-SNE", "pca": "PCA"}

Picture = tuple[Figure, str]                # what is drawn, and what is in it


# ---- arguments -------------------------------------------------------------------------------------------------------

def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="visualize.py", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="PICTURE")

    def command(draw: Callable[..., Picture], starts: tuple[str, ...] = (), data: bool = False,
                several: bool = False) -> argparse.ArgumentParser:
        what = draw.__doc__.split("\n\n")[0]
        sub = commands.add_parser(draw.__name__, help=what.split(".")[0], description=what)
        sub.set_defaults(draw=draw)
        sub.add_argument("--out", type=style.check_name, required=True, metavar="FILE", help="where to write: .png or .svg")
        where = sub.add_mutually_exclusive_group() if data else sub
        where.add_argument("--run", type=Path, metavar="RUN", **({"nargs": "+"} if several else {}), help=(
            "run folders" if several else "run folder") + " (default: the newest" + data * ", or the synthetic playlists "
            "where there is none" + ")")
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
    sub = command(recommendation)
    sub.add_argument("--seeds", nargs="+", metavar="TRACK", help="the songs to start from: URIs, or words of title and "
                     "artist (default: the three tracks of a typical playlist)")
    sub.add_argument("--n", type=positive, default=5, help="how many recommendations")
    sub.add_argument("--between", type=positive, default=14, help="how many of the playlists, artists and albums that join "
                     "them are shown, the most telling; the page grows with them")
    sub = command(curves, several=True)
    sub.add_argument("--metrics", nargs="+", default=[SELECT_BY, "recall@100"], metavar="METRIC",
                     help="which columns of history.csv to draw beside loss and gradient norm")
    sub = command(embeddings)
    sub.add_argument("--colour-by", choices=["genre", "artist", "album"], help="what a colour stands for (default: the "
                     "planted genre, and the artist where nothing was planted)")
    sub.add_argument("--method", choices=["tsne", "pca"], default="tsne", help="tsne keeps neighbours together and takes "
                     "half a minute, pca keeps directions and is instant")
    sub.add_argument("--points", type=positive, default=1500, help=f"tracks drawn at random, at most {MOST_POINTS:,} for tsne")
    sub.add_argument("--seed", type=int, default=0, help="seed of that draw")
    sub = command(attention, ("playlist", "track", "artist"))
    sub.add_argument("--layer", type=positive, help="whose attention to show, counted from 1 (default: the last)")
    sub.add_argument("--neighbours", type=positive, default=20, help="how many neighbours at most, the most heard first")
    sub = command(tradeoff, several=True)
    sub.add_argument("--popularity-penalty", type=float, nargs="+", default=[0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8], metavar="P",
                     help="the points of a curve: weights of popularity against the score")
    sub.add_argument("--k", type=positive, default=10, help="length of the list that is judged")
    sub.add_argument("--split", choices=["val", "test"], default="val", help="which held-out part to score: val to choose a "
                     "penalty, test to report")
    return parser.parse_args(argv)


DEFAULT_START = ("a playlist of typical size", "one with a typical number of tracks")


def positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


# ---- what is drawn ---------------------------------------------------------------------------------------------------

def opened(run: Path | None, data: Path | None, slices: int | None) -> tuple[HeteroGraph, Playlists, str]:
    """The graph to draw, its catalogue and where they are from: a run's training links, or all entries of the data."""
    if slices and not data:
        raise InputError("--slices: needs --data; the synthetic playlists and a run are drawn from whole")
    if data is None:
        try:
            trained = Trained(run)
            return trained.graph, trained.playlists, source_of(trained)
        except InputError:
            if run is not None or any(runs.ROOT.glob("*/config.json")):
                raise
    playlists = mpd.load(data, slices=slices)
    everything = Pairs(playlists.playlist, playlists.track, playlists.position)
    return build_graph(playlists, everything), playlists, f"{data or 'data/synthetic'}, all entries{said(playlists)}"


def source_of(run: Trained) -> str:
    return f"{run.folder}, training links{said(run.playlists)}"


def said(playlists: Playlists) -> str:
    """What the data say of themselves, up to the colon."""
    return f".  {playlists.note.partition(':')[0]}" if playlists.note else ""


def names_of(playlists: Playlists) -> Callable[[Node], str]:
    """A node's name, and where it has none, its type and id."""
    names = {t: getattr(playlists, f"{t}_names") for t in NODE_TYPES}
    return lambda node: names[node[0]][node[1]] or f"{node[0]} {node[1]}"


def find(graph: HeteroGraph, playlists: Playlists, default: str, playlist: str | None = None, track: str | None = None,
         artist: str | None = None) -> Node:
    """The node that is named, or a typical one of the default type. Raises InputError if there is none of the kind."""
    node_type = "playlist" if playlist else "track" if track else "artist" if artist else default
    if node_type not in graph.num_nodes:
        raise InputError(f"no {node_type}s in this graph: start from a playlist or a track, or draw other data")
    if playlist:
        return "playlist", find_playlist(playlists, playlist)
    if track:
        return "track", find_track(playlists, track, degrees(graph, "track").numpy())
    return ("artist", find_artist(playlists, artist)) if artist else typical(graph, default)


def around(start: Node, view, graph: HeteroGraph, name: Callable[[Node], str], playlists: Playlists) -> str:
    """The title of a neighbourhood."""
    pid = f" (pid {playlists.pids[start[1]]})" if start[0] == "playlist" else ""
    return f"Around the {start[0]} “{style.clean(name(start), 30)}”{pid}: {len(view)} of {sum(graph.num_nodes.values()):,} nodes"


def snowball(run, data, slices, playlist, track, artist, hops) -> Picture:
    """What lies around a playlist, track or artist, hop by hop."""
    graph, catalogue, source = opened(run, data, slices)
    start, name = find(graph, catalogue, "playlist", playlist, track, artist), names_of(catalogue)
    view = subgraphs.snowball(graph, start, [dict.fromkeys(graph.num_nodes, n) for n in hops])
    title = around(start, view, graph, name, catalogue)
    return networks.draw_rings(view, name, title, kept_at_every_hop(view), source), title


def multipartite(run, data, slices, playlist, track, artist, tracks, playlists) -> Picture:
    """Playlists, tracks, artists and albums in columns, ordered so that few links cross."""
    graph, catalogue, source = opened(run, data, slices)
    start, name = find(graph, catalogue, "playlist", playlist, track, artist), names_of(catalogue)
    near = {"track": tracks, "playlist": playlists}
    view = subgraphs.snowball(graph, start, [near, near, {t: tracks for t in ("artist", "album") if t in graph.num_nodes}])
    columns = [(style.counted(len(nodes), nodes[0][0]), nodes) for nodes in columns_of(view, NODE_TYPES)]
    title = around(start, view, graph, name, catalogue)
    return networks.draw_columns(columns, list(view.edges), name, title, kept_at_every_hop(view), source,
                                 [start]), title


def artist(run, data, slices, artist, tracks, playlists) -> Picture:
    """An artist, the artist's tracks and the playlists that hold them."""
    graph, catalogue, source = opened(run, data, slices)
    start, name = find(graph, catalogue, "artist", artist=artist), names_of(catalogue)
    view = subgraphs.snowball(graph, start, [{"track": tracks}, {"playlist": playlists}])
    of = {"artist": "1 artist", "track": kept(view, 1, "track"), "playlist": kept(view, 2, "playlist")}
    columns = [(of[nodes[0][0]], nodes) for nodes in columns_of(view, tuple(of))]
    title = f"“{style.clean(name(start), 30)}”: {of['track']} in {of['playlist']}"
    return networks.draw_columns(columns, list(view.edges), name, title, "The artist's tracks, and the playlists that hold "
                                 "them; of too many, the best linked", source, [start]), title


def recommendation(run, seeds, n, between) -> Picture:
    """What is recommended for a few songs, and the playlists, artists and albums that join it to them."""
    music = Recommender.load(run)
    graph, plain = music.run.graph, names_of(music.playlists)
    typical_one = torch.tensor([typical(graph, "playlist")[1]])
    songs = list(dict.fromkeys(music.track(t) for t in seeds or graph.adjs[IN].take(typical_one).col[:3].tolist()))
    found = music.from_seeds(songs, n)
    rank = {("track", each.track): f"{i}. " for i, each in enumerate(found, 1)}
    ways = [(("track", way.song), (way.via, node), end) for end in rank for way in paths(graph, songs, end[1])
            for node in way.nodes]
    links = subgraphs.strongest_ways(graph, ways, between)
    reached = len({end for *_, end in ways})

    def name(node: Node) -> str:
        title = " – ".join(filter(None, music.name(node[1]))) if node[0] == "track" else plain(node)
        return rank.get(node, "") + title
    columns = [(style.counted(len(songs), "seed song"), [("track", s) for s in songs]),
               (f"{len(links)} of {len({b for _, b, _ in ways}):,} in between", list(links)),
               (f"{len(found)} recommended, best first", list(rank))]
    title = f"{style.counted(len(songs), 'seed song')}, {style.counted(len(found), 'recommendation')}, and what joins them"
    subtitle = (f"Recommended by {music.run.settings['model']}. {reached} of {len(found)} share a playlist, artist or album with "
                f"a seed song; of these, the most telling are shown")
    figure = networks.draw_columns([column for column in columns if column[1]], [e for ends in links.values() for e in ends],
                                   name, title, subtitle, source_of(music.run), columns[0][1], fixed=[2])
    return figure, title


def curves(run, metrics) -> Picture:
    """Loss, validation metrics and gradient norm of one run or several, epoch by epoch."""
    folders = run or [runs.newest()]
    drawn = []
    for folder in folders:
        rows, settings = runs.load_history(folder), runs.load_config(folder)["settings"]
        best = max(rows, key=lambda row: row.get(SELECT_BY, row["epoch"]))
        drawn.append((f"{folder.name}: {settings['model']}, {settings['loss']}, {settings['neg']} negatives; " +
                      (f"best {SELECT_BY} {best[SELECT_BY]:.4f} at epoch" if SELECT_BY in best else "kept epoch") +
                      f" {best['epoch']:.0f} of {len(rows)}", rows))
    known = {column for _, rows in drawn for column in rows[0]}
    for metric in metrics:
        if metric not in known and known & {SELECT_BY}:
            raise InputError(f"--metrics {metric}: no such column; history.csv has {', '.join(sorted(known))}")
    title = f"Training of {style.counted(len(drawn), 'run')}, {style.counted(sum(len(rows) for _, rows in drawn), 'epoch')}"
    return charts.draw_curves(drawn, [m for m in metrics if m in known], SELECT_BY, title,
                              f"A large mark is the epoch that was kept, the best {SELECT_BY} on validation",
                              ", ".join(map(str, folders))), title


def embeddings(run, colour_by, method, points, seed) -> Picture:
    """A map of the tracks' embeddings, coloured by genre, artist or album."""
    if method == "tsne" and points > MOST_POINTS:
        raise InputError(f"--points {points}: t-SNE compares all pairs, at most {MOST_POINTS:,} here; use --method pca")
    trained = Trained(run)
    catalogue, genre = trained.playlists, genres_of(trained.playlists)
    colour_by = colour_by or ("artist" if genre is None else "genre")
    group = {"genre": genre, "artist": catalogue.track_artist, "album": catalogue.track_album}[colour_by]
    if group is None or group.max() < 0:
        raise InputError(f"--colour-by {colour_by}: these tracks have none; choose another of genre, artist and album")
    largest, ids = maps.sample(group, min(points, catalogue.num_tracks), seed)
    z = trained.readout.tracks[torch.from_numpy(ids)]
    at = (maps.tsne(z) if method == "tsne" else maps.pca(z)).numpy()
    names = replanted(catalogue)[1].genre_names if colour_by == "genre" else getattr(catalogue, f"{colour_by}_names")
    title = f"{len(ids):,} of {catalogue.num_tracks:,} tracks as {trained.settings['model']} sees them"
    nearer = pair_auc(trained.embeddings["track"], torch.from_numpy(group).long())
    subtitle = f"{METHODS[method]} of the embeddings, coloured by {colour_by}" + (
        "" if nearer is None else f". Two tracks of one {colour_by} are nearer than any two with probability {nearer:.2f}")
    return maps.draw_map(at, group[ids], largest, names, title, subtitle, source_of(trained)), title


def attention(run, playlist, track, artist, layer, neighbours) -> Picture:
    """Whom a node of a HGT or GAT run listens to, and how far its type's attention is from uniform."""
    trained = Trained(run)
    layers = attend(trained)
    if not layers:
        raise InputError(f"{trained.folder}: {trained.settings['model']} does not attend; draw a run of hgt or gat")
    layer = layer or len(layers)
    if layer > len(layers):
        raise InputError(f"--layer {layer}: {trained.folder} has {len(layers)}")
    start, name = find(trained.graph, trained.playlists, "playlist", playlist, track, artist), names_of(trained.playlists)
    nodes, share = heard(trained, layers[layer - 1], *start)
    if not nodes:
        raise InputError(f"{start[0]} {name(start)!r}: has no neighbours in {trained.folder}; start from another")
    first = share.mean(0).argsort(descending=True, stable=True)[:neighbours]
    own, ids = trained.view.locate(start[0], torch.arange(trained.graph.num_nodes[start[0]]))
    even = [(f"layer {i}, head {h}", row[ids].numpy()) for i, each in enumerate(layers, 1)
            for h, row in enumerate(pictures.attention.entropy(*each[own]), 1)]
    some = f"{len(first)} of " if len(first) < len(nodes) else ""
    title = f"Whom the {start[0]} “{style.clean(name(start), 30)}” listens to: {some}{style.counted(len(nodes), 'neighbour')}"
    subtitle = f"{trained.settings['model']}, layer {layer} of {len(layers)}, {style.counted(len(share), 'head')}" + bool(some) * (
        f". Those shown hold {share[:, first].sum(1).mean():.0%} of the attention; were it uniform, {len(first) / len(nodes):.0%}")
    return pictures.attention.draw_attention(start, [nodes[i] for i in first], share[:, first].t().numpy(), len(nodes), even,
                                             name, title, subtitle, source_of(trained)), title


def tradeoff(run, popularity_penalty, k, split) -> Picture:
    """What novelty and coverage cost in recall, by the weight of a popularity penalty."""
    opened = [Trained(folder) for folder in run or [None]]
    drawn = [(f"{each.folder.name} ({each.settings['model']})", evaluate.tradeoff(each, split, popularity_penalty, [k]))
             for each in opened]
    title = f"Recall, novelty and coverage at {k}: {style.counted(len(drawn), 'run')}, {style.counted(sum(len(rows) for _, rows in drawn), 'point')}"
    return charts.draw_tradeoff(drawn, k, title, f"A point a popularity penalty, which is written beside it; {PARTS[split]} part",
                                ", ".join(str(each.folder) for each in opened)), title


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
