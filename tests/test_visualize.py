"""Pictures: what they choose to show, where they put it, and that every command draws it legibly."""
from itertools import combinations

import networkx as nx
import numpy as np
import pytest
import torch
from matplotlib.text import Text

import train
import visualize
from common.errors import InputError
from gnn.sparse import Adj
from mpd.build import NODE_TYPES, build_graph
from mpd.split import Pairs
from pictures import charts, layout, maps, style, subgraphs
from pictures.attention import entropy


@pytest.fixture(scope="module")
def table(planted):
    return planted[0]


@pytest.fixture(scope="module")
def graph(table):
    return build_graph(table, Pairs(table.playlist, table.track, table.position))


@pytest.fixture(scope="module")
def attending(slices, tmp_path_factory):
    """HGT and GAT, one epoch each."""
    folder = tmp_path_factory.mktemp("attending")
    return {model: train.main(["--data", str(slices), "--model", model, "--epochs", "1", "--dim", "8", "--heads", "2",
                               "--out", str(folder / model)]) for model in ("hgt", "gat")}


def draw(monkeypatch, *flags):
    """The figure that a command saves."""
    saved = []
    monkeypatch.setattr(visualize, "save", lambda figure, path: saved.append(figure))
    visualize.main([*map(str, flags), "--out", "x.png"])
    return saved[0]


def overlapping(figure):
    """Draw a figure: pairs of texts whose boxes share more than a pixel, and texts that leave the page."""
    drawn, draw_text = [], Text.draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", lambda text, renderer: (drawn.append(text), draw_text(text, renderer)))
        figure.canvas.draw()
    boxes = [(t.get_text(), t.get_window_extent().padded(-1)) for t in drawn if t.get_text() and t.get_visible()]
    assert len(boxes) > 5
    page = figure.bbox.padded(1)
    off = [a for a, box in boxes if box.x0 < page.x0 or box.x1 > page.x1 or box.y0 < page.y0 or box.y1 > page.y1]
    return [(a, b) for (a, x), (b, y) in combinations(boxes, 2) if x.overlaps(y)] + off


# ---- what is shown ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("start", [("playlist", 3), ("track", 5), ("artist", 2)])
def test_a_snowball_keeps_its_limits_and_hangs_together(graph, start):
    limits = [dict.fromkeys(NODE_TYPES, n) for n in (4, 3, 5)]
    view = subgraphs.snowball(graph, start, limits)
    assert start in view and nx.is_connected(view)
    for hop, limit in enumerate(limits, 1):
        new = [n for n, data in view.nodes(data=True) if data["hop"] == hop]
        for t in NODE_TYPES:
            found = view.graph["found"][hop - 1][t]
            assert sum(n[0] == t for n in new) == min(found, limit[t])
    assert all(abs(view.nodes[a]["hop"] - view.nodes[b]["hop"]) == 1 for a, b in view.edges)
    again = subgraphs.snowball(graph, start, limits)
    assert list(again.nodes) == list(view.nodes) and set(again.edges) == set(view.edges)


def test_a_snowball_has_every_link_between_its_nodes(graph, table):
    view = subgraphs.snowball(graph, ("playlist", 0), [{"track": 5}, {"playlist": 4, "artist": 9}])
    held = set(zip(table.playlist.tolist(), table.track.tolist()))
    for p in (i for t, i in view if t == "playlist"):
        for s in (i for t, i in view if t == "track"):
            assert view.has_edge(("playlist", p), ("track", s)) == ((p, s) in held)
    for s in (i for t, i in view if t == "track"):
        assert view.has_edge(("track", s), ("artist", int(table.track_artist[s])))


def test_an_ego_network_is_the_artists_tracks_and_their_playlists(graph, table):
    a = int(np.bincount(table.track_artist).argmax())
    tracks = set(np.flatnonzero(table.track_artist == a).tolist())
    playlists = set(table.playlist[np.isin(table.track, list(tracks))].tolist())
    view = subgraphs.snowball(graph, ("artist", a), [{"track": 10_000}, {"playlist": 10_000}])
    assert set(view) == {("artist", a)} | {("track", t) for t in tracks} | {("playlist", p) for p in playlists}
    few = subgraphs.snowball(graph, ("artist", a), [{"track": 3}, {"playlist": 4}])
    assert sorted(t for t, _ in few) == ["artist", *["playlist"] * 4, *["track"] * 3]
    assert subgraphs.kept(few, 1, "track") == f"3 of {len(tracks)} tracks"


def test_ways_keep_one_for_every_end(graph):
    ways = [(("track", 0), ("playlist", p), ("track", t)) for t, p in ((1, 0), (1, 1), (1, 2), (2, 3))]
    kept = subgraphs.strongest_ways(graph, ways, 2)
    assert len(kept) == 2 and ("playlist", 3) in kept
    assert kept[("playlist", 3)] == [(("track", 0), ("playlist", 3)), (("playlist", 3), ("track", 2))]


def test_a_map_shows_the_largest_groups_and_some_of_the_rest():
    group = np.repeat(np.arange(30), np.arange(30, 0, -1))
    largest, ids = maps.sample(group, 100, seed=0)
    assert list(largest) == list(range(maps.SHOWN))
    assert len(ids) == len(set(ids)) == 100 and np.isin(group[ids], largest).sum() == 75
    assert len(maps.sample(np.zeros(50, int), 40, seed=0)[1]) == 40


# ---- where it goes ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(5))
def test_ordering_never_adds_crossings(seed):
    rng = np.random.default_rng(seed)
    columns = [[("track", 100 * c + i) for i in range(8)] for c in range(3)]
    edges = [(columns[c][i], columns[c + 1][j]) for c in (0, 1) for i, j in rng.integers(0, 8, (14, 2))]
    ordered = layout.order_columns(columns, edges)
    assert layout.crossings(ordered, edges) <= layout.crossings(columns, edges)
    assert [sorted(c) for c in ordered] == columns
    assert layout.order_columns(columns, edges, fixed=[1])[1] == columns[1]


def test_ordering_undoes_a_shuffle():
    columns = [[("a", i) for i in range(6)], [("b", i) for i in (3, 0, 5, 1, 4, 2)]]
    edges = [(("a", i), ("b", i)) for i in range(6)]
    assert layout.crossings(columns, edges) > 0
    assert layout.crossings(layout.order_columns(columns, edges), edges) == 0
    two = [[("a", 0), ("a", 1)], [("b", 0), ("b", 1)]]
    assert layout.crossings(two, [(("a", 0), ("b", 1)), (("a", 1), ("b", 0))]) == 1


def test_links_bend_around_the_columns_they_skip():
    columns = [[("a", 0), ("a", 1)], [("b", 0)], [("c", 0)]]
    bent, edges = layout.with_bends(columns, [(("a", 0), ("c", 0)), (("c", 0), ("a", 1)), (("a", 0), ("b", 0))])
    bend = ("bend", (1, ("c", 0)))
    assert bent[1] == [("b", 0), bend] and columns[1] == [("b", 0)]
    assert set(edges) == {(("a", 0), bend), (("a", 1), bend), (bend, ("c", 0)), (("a", 0), ("b", 0))}


def test_pca_and_tsne_keep_planted_clusters_apart():
    torch.manual_seed(0)
    group = torch.arange(5).repeat_interleave(40)
    x = 6 * torch.eye(5, 20)[group] + torch.randn(200, 20)
    y = maps.tsne(x, perplexity=15, steps=200)
    nearest = torch.cdist(y, y)
    assert (group[nearest.fill_diagonal_(torch.inf).argmin(1)] == group).float().mean() > 0.97
    two = maps.pca(x[:80])
    assert (two[:40, 0].max() < two[40:, 0].min()) or (two[:40, 0].min() > two[40:, 0].max())
    assert two[:, 0].var() > two[:, 1].var()


def test_neighbourhoods_have_the_wanted_perplexity():
    P = maps._neighbourhoods(torch.cdist(x := torch.randn(100, 4), x).square(), 12.0)
    assert torch.allclose(P.sum(1), torch.ones(100)) and not P.diagonal().any()
    assert torch.allclose(-torch.special.xlogy(P, P).sum(1), torch.tensor(12.0).log(), atol=1e-3)


# ---- what it says ----------------------------------------------------------------------------------------------------

def test_entropy_is_one_when_uniform_and_nought_when_certain():
    A = Adj.from_edges([0, 0, 0, 0, 1, 1, 2], [0, 1, 2, 3, 0, 1, 0], (4, 4))
    found = entropy(A, torch.tensor([[0.25] * 4 + [0.5] * 2 + [1.0], [1.0, 0, 0, 0, 0.9, 0.1, 1.0]]))
    assert torch.allclose(found[0, :2], torch.ones(2)) and found[1, 0] == 0 and 0 < found[1, 1] < 1
    assert found[:, 2:].isnan().all()                           # one neighbour or none: nothing to choose


def test_names_are_printable_and_no_formulas():
    assert style.clean("A$AP & Ke$ha") == r"A\$AP & Ke\$ha"
    assert style.clean("party 🎉🎉") == "party" and style.clean("🎉") == "(no printable name)"
    assert style.clean("x" * 30, 10) == "x" * 9 + "…"


# ---- the commands ----------------------------------------------------------------------------------------------------

COMMANDS = ["snowball", "snowball --data", "multipartite --data", "artist --data", "recommendation", "curves",
            "embeddings --points 100", "embeddings --method pca --colour-by artist", "attention", "tradeoff --k 5"]


def flags_of(command, slices, trained, attending):
    name, *rest = command.split()
    if "--data" in rest:
        return [name, "--data", slices]
    return [name, "--run", attending["hgt"] if name == "attention" else trained, *rest]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_writes_a_picture_without_overlapping_texts(command, slices, trained, attending, tmp_path,
                                                                  monkeypatch, capsys):
    save, figures, out = style.save, [], tmp_path / "new" / "picture.png"
    monkeypatch.setattr(visualize, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    assert visualize.main([*map(str, flags_of(command, slices, trained, attending)), "--out", str(out)]) == out
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{out}: ")
    save(figures[0], out.with_suffix(".svg"))
    assert out.read_bytes().startswith(b"\x89PNG") and out.with_suffix(".svg").read_bytes().startswith(b"<?xml")
    assert sorted(f.name for f in out.parent.iterdir()) == ["picture.png", "picture.svg"]
    assert not overlapping(figures[0])


def test_the_same_command_gives_the_same_bytes(trained, tmp_path):
    for name in ("a", "b"):
        visualize.main(["curves", "--run", str(trained), "--out", str(tmp_path / f"{name}.svg")])
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_attention_of_every_type_and_of_itself(attending, table, monkeypatch):
    for start in (("--playlist", 3, "--neighbours", 400), ("--track", table.track_uris[0]),
                  ("--artist", table.artist_uris[0])):
        figure = draw(monkeypatch, "attention", "--run", attending["gat"], *start)
        assert sum("(itself)" in t.get_text() for t in figure.findobj(Text)) == 1 and not overlapping(figure)


def test_several_runs_in_one_picture(trained, attending, monkeypatch):
    for command in ("curves", "tradeoff"):
        figure = draw(monkeypatch, command, "--run", trained, attending["hgt"], attending["gat"])
        assert "3 runs" in figure.texts[0].get_text() and not overlapping(figure)


def test_a_start_is_named_by_pid_uri_or_words(slices, table, monkeypatch):
    for flag, value, name in (("--playlist", table.pids[7], table.playlist_names[7]),
                              ("--track", table.track_uris[3], table.track_names[3]),
                              ("--artist", table.artist_names[4].upper(), table.artist_names[4])):
        assert f"“{name}”" in draw(monkeypatch, "snowball", "--data", slices, flag, value).texts[0].get_text()


@pytest.mark.parametrize("flags, message", [
    (["snowball", "--playlist", "no such list"], "none here"),
    (["snowball", "--track", "spotify:track:x"], "not among"),
    (["artist", "--artist", "nobody"], "nobody"), (["multipartite", "--tracks", "0"], "from 1 on"),
    (["snowball", "--playlist", "1", "--track", "x"], "not allowed"), (["snowball", "--hops"], "expected")])
def test_wrong_names_are_said_in_a_line(slices, flags, message):
    with pytest.raises(InputError, match=message) as error:
        visualize.main([*flags, "--data", str(slices), "--out", "x.png"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flags, message", [
    (["attention"], "does not attend"), (["curves", "--metrics", "recall@7"], "recall@7"),
    (["embeddings", "--points", "100000"], "all pairs"), (["recommendation", "--seeds", "zzz"], "zzz")])
def test_wrong_requests_to_a_run_are_said_in_a_line(trained, flags, message):
    with pytest.raises(InputError, match=message) as error:
        visualize.main([*flags, "--run", str(trained), "--out", "x.png"])
    assert "\n" not in str(error.value)


def test_a_wrong_suffix_is_said_before_any_work(slices):
    for flags in (["--out", "picture.pdf"], []):
        with pytest.raises(InputError, match="--out"):
            visualize.main(["snowball", "--data", str(slices), *flags])
    with pytest.raises(InputError, match="nowhere"):
        visualize.main(["curves", "--run", "nowhere", "--out", "x.png"])


def test_playlists_without_artists_or_names_are_drawn(tmp_path, monkeypatch):
    (tmp_path / "train.txt").write_text("0 1 2 3\n1 2 3 4\n2 1 4 5\n")
    (tmp_path / "test.txt").write_text("0 4\n1 5\n2 2\n")
    for command in ("snowball", "multipartite"):
        assert not overlapping(draw(monkeypatch, command, "--data", tmp_path))
    with pytest.raises(InputError, match="no artists"):
        visualize.main(["artist", "--data", str(tmp_path), "--out", "x.png"])


def test_curves_that_differ_much_are_drawn_on_a_logarithmic_axis():
    rows = [[{"epoch": e, "loss": scale / e, "grad_norm": 1.0} for e in (1, 2, 3)] for scale in (1, 100)]
    figure = charts.draw_curves([("a", rows[0]), ("b", rows[1])], [], "ndcg@10", "two", "", "")
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
