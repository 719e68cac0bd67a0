"""From a table of playlists to the graph that messages travel on."""
from __future__ import annotations

import networkx as nx
import numpy as np
import torch

from gnn.graph import HeteroGraph
from gnn.sparse import Adj
from mpd.playlists import Playlists, in_order, places
from mpd.split import Pairs, Split

NODE_TYPES = ("playlist", "track", "artist", "album")
IN, CONTAINS = ("track", "in", "playlist"), ("playlist", "contains", "track")
BY, PERFORMS = ("track", "by", "artist"), ("artist", "performs", "track")
ON, HOLDS = ("track", "on", "album"), ("album", "holds", "track")
RELATION_WEIGHTS = (1.0, 0.2, 0.3)          # a track's links to its playlists, artist and album, in both directions


def build_graph(playlists: Playlists, train: Pairs, node_types=NODE_TYPES,
                relation_weights=RELATION_WEIGHTS, features: dict[str, torch.Tensor] | None = None) -> HeteroGraph:
    """Playlist–track edges from `train` only, track–artist and track–album edges from the catalogue.

    node_types: which types to keep; playlist and track always are. relation_weights: of a track's links to playlists,
    artist and album; None: all alike.
    """
    weights = dict(zip(("playlist", "artist", "album"), relation_weights or (1.0, 1.0, 1.0), strict=True))
    num_nodes = {"playlist": playlists.num_playlists, "track": playlists.num_tracks}
    adjs = {IN: shown_tracks(train, playlists.num_playlists, playlists.num_tracks).with_value(None)}
    adjs[CONTAINS] = adjs[IN].T
    for node_type, forth, back, owner, count in (
            ("artist", PERFORMS, BY, playlists.track_artist, playlists.num_artists),
            ("album", HOLDS, ON, playlists.track_album, playlists.num_albums)):
        if node_type in node_types and count:
            num_nodes[node_type] = count
            tracks = np.flatnonzero(owner >= 0)
            adjs[forth] = Adj.from_edges(tracks, owner[tracks], (playlists.num_tracks, count))
            adjs[back] = adjs[forth].T
    by_relation = {(s, name, d): weights[d if s == "track" else s] for s, name, d in adjs}
    owners = {relation: adjs[relation] for relation in (PERFORMS, HOLDS) if relation in adjs}
    return HeteroGraph(num_nodes, adjs, by_relation, features, owners)


def shown_tracks(pairs: Pairs, num_playlists: int, num_tracks: int) -> Adj:
    """Pairs as an adjacency (P, T), each valued by its track's place among the playlist's n pairs here, in playlist
    order: (rank + 1) / n, so in (0, 1]."""
    order = in_order(pairs.playlist, pairs.position)
    length = np.bincount(pairs.playlist, minlength=num_playlists)
    place = np.empty(pairs.size, dtype=np.float32)
    place[order] = (places(length) + 1) / length[pairs.playlist[order]]
    return Adj.from_edges(pairs.playlist, pairs.track, (num_playlists, num_tracks), place)


def provenance(split: Split, before: Playlists, after: Playlists) -> str:
    """Sizes of the split's parts, what the k-core took away, and what the files brought amiss, as a few lines of text."""
    sizes = {"train": split.train, "val": split.val, "test": split.test}
    lines = [f"split      {'  '.join(f'{name} {part.size:,}' for name, part in sizes.items())}"]
    if after is not before:
        lines.append(f"k-core     removed {before.num_playlists - after.num_playlists:,} playlists, "
                     f"{before.num_tracks - after.num_tracks:,} tracks, "
                     f"{before.playlist.size - after.playlist.size:,} entries")
    dropped = {name: n for name, n in before.counts.items() if n and name != "entries"}
    if dropped:
        lines.append(f"input      {'  '.join(f'{n:,} {name}' for name, n in dropped.items())}".replace("_", " "))
    return "\n".join(lines)


def census(graph: HeteroGraph) -> str:
    """Nodes per type and edges per pair of types, as two lines of text."""
    both = [f"{src}–{dst} {A.num_edges:,}" for (src, _, dst), A in graph.adjs.items() if src == "track"]
    return (f"nodes      {'  '.join(f'{count:,} {t}s' for t, count in graph.num_nodes.items())}\n"
            f"edges      {'  '.join(both)}  (and as many back)")


def to_networkx(graph: HeteroGraph, playlists: Playlists | None = None) -> nx.MultiDiGraph:
    """The graph for teaching and pictures: nodes (type, id), with a `name` when `playlists` is given.

    Edges carry `relation` and `weight`. Small graphs only: every node and edge becomes a Python object.
    """
    names = {} if playlists is None else playlists.names
    view = nx.MultiDiGraph()
    for node_type, count in graph.num_nodes.items():
        for i in range(count):
            view.add_node((node_type, i), type=node_type, **({"name": names[node_type][i]} if names else {}))
    for (src, name, dst), A in graph.adjs.items():
        for i, j in zip(A.row.tolist(), A.col.tolist()):
            view.add_edge((src, j), (dst, i), relation=name, weight=graph.weights[src, name, dst])
    return view
