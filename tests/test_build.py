"""mpd/build.py: nodes, weights and positions of the graph, its networkx view, and what is said of it."""
import numpy as np
import pytest

from mpd.build import BY, build_graph, census, provenance, shown_tracks, to_networkx
from mpd.kcore import k_core
from mpd.split import make_split


def test_positions_are_in_playlist_order(planted):
    playlists, _ = planted
    split = make_split(playlists)
    A = shown_tracks(split.train, playlists.num_playlists, playlists.num_tracks)
    place = A.value
    for p in range(20):
        mine = split.train.playlist == p
        in_order = split.train.track[mine][np.argsort(split.train.position[mine])]
        edges = slice(int(A.ptr[p]), int(A.ptr[p + 1]))
        assert A.col[edges][place[edges].argsort()].tolist() == in_order.tolist()
        assert float(place[edges].max()) == 1.0 and float(place[edges].min()) == pytest.approx(1 / mine.sum())


def test_node_types_and_weights(planted):
    playlists, _ = planted
    train = make_split(playlists).train
    assert set(build_graph(playlists, train, ["playlist", "track"]).num_nodes) == {"playlist", "track"}
    graph = build_graph(playlists, train, ["playlist", "track", "artist"], (1.0, 0.5, 0.3))
    assert set(graph.num_nodes) == {"playlist", "track", "artist"} and graph.weights[BY] == 0.5


def test_what_is_said_of_the_data(planted):
    playlists, _ = planted
    core = k_core(playlists, 5)
    split = make_split(core)
    text = provenance(split, playlists, core)
    assert f"removed {playlists.num_playlists - core.num_playlists:,} playlists" in text
    assert f"train {split.train.size:,}" in text and "k-core" not in provenance(split, core, core)
    text = census(build_graph(core, split.train))
    assert f"{core.num_artists:,} artists" in text and f"track–playlist {split.train.size:,}" in text


def test_networkx_view(planted):
    playlists, _ = planted
    graph = build_graph(playlists, make_split(playlists).train)
    view = to_networkx(graph, playlists)
    assert view.number_of_nodes() == sum(graph.num_nodes.values())
    assert view.number_of_edges() == sum(A.num_edges for A in graph.adjs.values())
    track = ("track", 3)
    artist = ("artist", int(playlists.track_artist[3]))
    assert view.nodes[artist]["name"] == playlists.artist_names[artist[1]]
    assert [d["relation"] for d in view[track][artist].values()] == ["by"]
