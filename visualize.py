"""Draw a run, or playlists alone, as a PNG or SVG.

    python visualize.py multipartite --data mpd.zip --out around.png          playlists alone
    python visualize.py curves --run runs/a runs/b --out curves.svg           several runs in one picture

    main ─┬ parse: which picture, and its flags
          ├ snowball, multipartite, artist   opened, find, subgraphs.grow ────────────────────┬→ networks.draw_*
          ├ recommendation                   Recommender.from_seeds, explain.paths ───────────┘
          ├ curves                           load_history ────────────────────────────────────→ charts.draw_curves
          ├ tradeoff                         evaluate.tradeoff ───────────────────────────────→ charts.draw_tradeoff
          ├ embeddings                       Trained.readout, maps.tsne or maps.pca ──────────→ maps.draw_map
          ├ attention                        explain.attend, find, explain.heard ─────────────→ attention.draw_attention
          └ style.save: the figure that the picture's function returned

Every picture is a function here that takes its flags by name and returns a matplotlib figure. Large graphs are
sampled; titles and headings say how much of what is shown.
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Callable

import torch
from matplotlib.figure import Figure

import evaluate
import mpd
from common import cli
from common.errors import InputError
from gnn.graph import HeteroGraph
from mpd.build import IN, NODE_TYPES, build_graph
from mpd.playlists import Playlists
from mpd.split import Pairs
from pictures.attention import draw_attention, entropies, most_heard
from pictures.charts import draw_curves, draw_tradeoff, said_of_run
from pictures.maps import METHODS, MOST_POINTS, draw_map, grouped, sample
from pictures.networks import draw_columns, draw_rings
from pictures.style import save
from pictures.subgraphs import Node, columns_of, degrees, grow, strongest_ways, typical
from pictures.texts import Caption, around, counted, kept, names_of, quoted, source_of
from ranking.metrics import pair_auc
from recommending import Recommender
from recommending.explain import attend, heard, paths
from recommending.lookup import find_artist, find_playlist, find_track
from training.folder import ROOT as RUNS, load_config, load_history, newest
from training.state import SELECT_BY
from training.trained import Trained

PARTS = {"val": "validation", "test": "test"}
MOST_ROWS = 60                              # of a column


# ---- arguments -------------------------------------------------------------------------------------------------------

def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = cli.Parser(prog="visualize.py", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(required=True, metavar="PICTURE")

    def command(draw: Callable[..., Figure], *starts: str, data: bool = False, several: bool = False):
        """A sub-command that may start from nodes of some types, draw data alone, or draw several runs → the function
        that adds a flag to it."""
        sub = commands.add_parser(draw.__name__, help=draw.__doc__, description=draw.__doc__)
        sub.set_defaults(draw=draw)
        sub.add_argument("--out", type=cli.picture, required=True, metavar="FILE", help="where to write: .png or .svg")
        where = sub.add_mutually_exclusive_group()
        where.add_argument("--run", type=Path, nargs="+" if several else None, metavar="RUN", help="draw from this "
                           f"(default: the newest{', or the synthetic playlists where there is none' * data})")
        if data:
            where.add_argument("--data", type=Path, help="playlists instead of a run: all that train.py --data takes")
            sub.add_argument("--slices", type=cli.positive, help="read only the first N slices of --data, in numeric "
                             "order")
        if starts:                                              # argparse cannot print an empty group
            start = sub.add_mutually_exclusive_group()
            for t in starts:
                start.add_argument(f"--{t}", metavar="NAME", help=f"start from this {t}: words of its name, or its "
                                   f"{'pid' if t == 'playlist' else 'URI'} (default: a typical {starts[0]})")
        return sub.add_argument

    flag = command(snowball, "playlist", "track", "artist", data=True)
    flag("--hops", type=cli.positive, nargs="+", default=[8, 5, 8], metavar="N", help="how many nodes of each type a "
         "hop may add, hop by hop; more hops reach further")
    flag = command(multipartite, "playlist", "track", "artist", data=True)
    flag("--tracks", type=cli.positive, default=16, help="at most so many; the page grows with them")
    flag("--playlists", type=cli.positive, default=8, help="at most so many")
    flag = command(artist, "artist", data=True)
    flag("--tracks", type=cli.positive, default=12, help="at most so many of the artist's")
    flag("--playlists", type=cli.positive, default=24, help="at most so many; the page grows with them")
    flag = command(recommendation)
    flag("--seeds", nargs="+", metavar="TRACK", help="the songs to start from: URIs, or words of title and artist "
         "(default: three tracks of a typical playlist)")
    flag("--n", type=cli.positive, default=5, help="how many recommendations")
    flag("--between", type=cli.positive, default=14, help="at most so many of the playlists, artists and albums that "
         "join them, the most telling; the page grows with them")
    flag = command(curves, several=True)
    flag("--metrics", nargs="+", default=[SELECT_BY, "recall@100"], metavar="METRIC", help="columns of history.csv to "
         "draw beside loss and gradient norm")
    flag = command(tradeoff, several=True)
    flag("--popularity-penalty", type=cli.finite, nargs="+", default=[0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8], metavar="P",
         help="the points of a curve: weights of popularity against the score")
    flag("--k", type=cli.positive, default=10, help="length of the list that is judged")
    flag("--split", choices=sorted(PARTS), default="val", help="which held-out part to score: val to choose a penalty, "
         "test to report")
    flag = command(embeddings)
    flag("--colour-by", choices=["genre", "artist", "album"], help="what a colour stands for (default: the planted "
         "genre, and the artist where nothing was planted)")
    flag("--method", choices=sorted(METHODS), default="tsne", help="tsne keeps neighbours together and takes some ten "
         "seconds, pca keeps directions and is instant")
    flag("--points", type=cli.positive, default=1500, help="how many tracks to draw, at random; a quarter of them from "
         "groups too small for a colour, where there are such")
    flag("--seed", type=cli.natural, default=0, help="seed of that draw")
    flag = command(attention, "playlist", "track", "artist")
    flag("--layer", type=cli.positive, help="whose attention to show, counted from 1 (default: the last)")
    flag("--neighbours", type=cli.positive, default=20, help="at most so many, the most heard first")
    return parser.parse_args(argv)


# ---- what to draw from -----------------------------------------------------------------------------------------------

def opened(run: Path | None, data: Path | None, slices: int | None) -> tuple[HeteroGraph, Playlists, str]:
    """The graph to draw, its catalogue and where they are from: a run's training links, or all entries of the data."""
    if slices and not data:
        raise InputError("--slices: needs --data; a run and the synthetic playlists are drawn from whole")
    if data is None and (run is not None or any(RUNS.glob("*/best.pt"))):
        trained = Trained(run)
        return trained.graph, trained.playlists, source_of_run(trained)
    catalogue = mpd.load(data, slices=slices)
    entries = Pairs(catalogue.playlist, catalogue.track, catalogue.position)
    return build_graph(catalogue, entries), catalogue, source_of(f"{data or 'data/synthetic'}, all entries", catalogue)


def source_of_run(trained: Trained) -> str:
    """The source of a picture of a run."""
    return source_of(f"{trained.folder}, training links", trained.playlists)


def find(graph: HeteroGraph, catalogue: Playlists, playlist: str | None = None, track: str | None = None,
         artist: str | None = None, default: str = "playlist") -> Node:
    """The node that is named, or a typical one of the default type. Raises InputError if there is none of the kind."""
    named = {"playlist": playlist, "track": track, "artist": artist}
    node_type = next((t for t, name in named.items() if name is not None), default)
    if node_type not in graph.num_nodes:
        raise InputError(f"no {node_type}s in this graph: draw another picture, or from other data")
    if playlist is not None:
        return "playlist", find_playlist(catalogue, playlist)
    if track is not None:
        return "track", find_track(catalogue, track, degrees(graph, "track").numpy())
    return ("artist", find_artist(catalogue, artist)) if artist is not None else typical(graph, default)


# ---- the pictures ----------------------------------------------------------------------------------------------------

def snowball(run, data, slices, playlist, track, artist, hops) -> Figure:
    """What lies around a playlist, track or artist, hop by hop"""
    graph, catalogue, source = opened(run, data, slices)
    start = find(graph, catalogue, playlist, track, artist)
    view = grow(graph, start, [dict.fromkeys(graph.num_nodes, n) for n in hops])
    return draw_rings(view, names_of(catalogue), around(start, view, graph, catalogue, source))


def multipartite(run, data, slices, playlist, track, artist, tracks, playlists) -> Figure:
    """Playlists, tracks, artists and albums in columns, ordered so that few links cross"""
    graph, catalogue, source = opened(run, data, slices)
    start = find(graph, catalogue, playlist, track, artist)
    near = {"track": tracks, "playlist": playlists}
    view = grow(graph, start, [near, near, {t: tracks for t in ("artist", "album") if t in graph.num_nodes}])
    columns = [(counted(len(nodes), nodes[0][0]), nodes) for nodes in columns_of(view, NODE_TYPES)]
    return draw_columns(columns, list(view.edges), names_of(catalogue), around(start, view, graph, catalogue, source),
                        strong=[start])


def artist(run, data, slices, artist, tracks, playlists) -> Figure:
    """An artist, the artist's tracks and the playlists that hold them"""
    graph, catalogue, source = opened(run, data, slices)
    start, name_of = find(graph, catalogue, artist=artist, default="artist"), names_of(catalogue)
    view = grow(graph, start, [{"track": tracks}, {"playlist": playlists}])
    headings = {"artist": "1 artist", "track": kept(view, 1, "track"), "playlist": kept(view, 2, "playlist")}
    columns = [(headings[nodes[0][0]], nodes) for nodes in columns_of(view, list(headings))]
    caption = Caption(f"{quoted(name_of(start))}: {headings['track']} in {headings['playlist']}",
                      "The artist's tracks and the playlists that hold them; of too many, the best linked", source)
    return draw_columns(columns, list(view.edges), name_of, caption, strong=[start])


def recommendation(run, seeds, n, between) -> Figure:
    """A few seed songs, what is recommended for them, and the playlists, artists and albums between"""
    if max(n, between) > MOST_ROWS:
        raise InputError(f"--n {n} --between {between}: a page holds {MOST_ROWS} of each")
    music = Recommender.load(run)
    graph, plain_name = music.run.graph, names_of(music.playlists)
    example = graph.adjs[IN].take(torch.tensor([typical(graph, "playlist")[1]])).col[:3].tolist()
    songs = list(dict.fromkeys(music.track(t) for t in seeds or example))
    rank = {("track", each.track): f"{i}. " for i, each in enumerate(music.from_seeds(songs, n), 1)}
    ways = [(("track", way.song), (way.via, node), end) for end in rank for way in paths(graph, songs, end[1])
            for node in way.nodes]
    links = strongest_ways(graph, ways, between)

    def name_of(node: Node) -> str:
        song = " – ".join(filter(None, music.name(node[1]))) if node[0] == "track" else ""
        return rank.get(node, "") + (song or plain_name(node))
    columns = [(counted(len(songs), "seed song"), [("track", s) for s in songs]),
               (f"{len(links):,} of {len({b for _, b, _ in ways}):,} in between", list(links)),
               (f"{len(rank)} recommended, best first", list(rank))]
    caption = Caption(
        f"{counted(len(songs), 'seed song')}, {counted(len(rank), 'recommendation')}, and what joins them",
        f"Recommended by {music.run.settings.model}. {len({end for *_, end in ways})} of {len(rank)} share a "
        f"playlist, artist or album with a seed song; the most telling of these are shown", source_of_run(music.run))
    return draw_columns([column for column in columns if column[1]], [edge for both in links.values() for edge in both],
                        name_of, caption, strong=columns[0][1], fixed=[2])


def curves(run, metrics) -> Figure:
    """Loss, validation metrics and gradient norm of one run or several, epoch by epoch"""
    folders, lines = run or [newest()], []                              # lines: (what the legend says, a row an epoch)
    for folder in folders:
        rows = load_history(folder)
        lines.append((said_of_run(folder.name, load_config(folder)["settings"], rows, SELECT_BY), rows))
    known = {column for _, rows in lines for column in rows[0]}
    for metric in set(metrics) - known:
        if SELECT_BY in known:                                  # otherwise nothing was validated, which is no mistake
            raise InputError(f"--metrics {metric}: no such column; history.csv has {', '.join(sorted(known))}")
    epochs = sum(len(rows) for _, rows in lines)
    caption = Caption(f"Training of {counted(len(lines), 'run')}, {counted(epochs, 'epoch')}",
                      f"A mark is the epoch that was kept, the best by {SELECT_BY} on validation; without validation, "
                      f"the last", ", ".join(map(str, folders)))
    return draw_curves(lines, [m for m in metrics if m in known], SELECT_BY, caption)


def tradeoff(run, popularity_penalty, k, split) -> Figure:
    """What novelty and coverage cost in recall, by the weight of a popularity penalty"""
    trained = [Trained(folder) for folder in run or [None]]
    lines = [(f"{each.folder.name} ({each.settings.model})", evaluate.tradeoff(each, split, popularity_penalty, [k]))
             for each in trained]
    caption = Caption(f"Recall, novelty and coverage at {k}: {counted(len(lines), 'run')}, "
                      f"{counted(len(popularity_penalty), 'popularity weight')}",
                      f"Scored on the {PARTS[split]} part; the weight of popularity against the score is written "
                      f"beside every point", ", ".join(str(each.folder) for each in trained))
    return draw_tradeoff(lines, k, caption)


def embeddings(run, colour_by, method, points, seed) -> Figure:
    """A map of the tracks' embeddings, coloured by genre, artist or album"""
    if points < 2:
        raise InputError(f"--points {points}: a map needs 2 at least")
    if method == "tsne" and points > MOST_POINTS:
        raise InputError(f"--points {points}: t-SNE compares all pairs, at most {MOST_POINTS:,} here; use --method pca")
    trained = Trained(run)
    what, group, names = grouped(trained.playlists, colour_by)                                          # group (T,)
    largest, ids = sample(group, min(points, len(group)), seed)                                         # ids (n,)
    called, flat = METHODS[method]
    at = flat(trained.readout.tracks[torch.from_numpy(ids)]).numpy()                                    # (n, 2)
    nearer = pair_auc(trained.embeddings["track"], torch.from_numpy(group).long())
    measured = "" if nearer is None else f". P(two of one {what} nearer than any two) = {nearer:.2f}"
    caption = Caption(f"{len(ids):,} of {len(group):,} tracks as {trained.settings.model} sees them",
                      f"{called} of the embeddings, coloured by {what}{measured}", source_of_run(trained))
    return draw_map(at, group[ids], largest, names, caption)


def attention(run, playlist, track, artist, layer, neighbours) -> Figure:
    """Whom a node listens to in a run of hgt or gat, and how far attention is from uniform"""
    trained = Trained(run)
    layers, name_of = attend(trained), names_of(trained.playlists)
    if not layers:
        raise InputError(f"{trained.folder}: {trained.settings.model} does not attend; draw a run of hgt or gat")
    layer = layer or len(layers)
    if layer > len(layers):
        raise InputError(f"--layer {layer}: {trained.folder} has {len(layers)}")
    start = find(trained.graph, trained.playlists, playlist, track, artist)
    nodes, share = heard(trained, layers[layer - 1], *start)                                    # n nodes, (H, n)
    if not nodes:
        raise InputError(f"{start[0]} {name_of(start)!r}: has no neighbours in {trained.folder}; start from another")
    most = most_heard(nodes, share, neighbours)
    caption = Caption(f"Whom the {start[0]} {quoted(name_of(start))} listens to: {most.said()}",
                      f"{trained.settings.model}, layer {layer} of {len(layers)}, {counted(len(share), 'head')}"
                      f"{most.said_of_share()}", source_of_run(trained))
    evenness = entropies(trained.view, layers, start[0], trained.graph.num_nodes[start[0]])
    return draw_attention(start, most, evenness, name_of, caption)


# ---- the script ------------------------------------------------------------------------------------------------------

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
