"""recommending/explain.py: parts add up to scores, paths are those of the graph, attention sums to one."""
import pytest
import torch

from recommending import Recommender
from recommending.explain import paths
from training.trained import Trained

from helpers import holds, quick


@pytest.mark.parametrize("which", ["trained", "continued"])
def test_parts_add_up_to_the_score(which, request):
    music = Recommender.load(request.getfixturevalue(which))
    for p in (0, 7, 31):
        pid = int(music.playlists.pids[p])
        best = music.complete(pid, 3)[2]
        why = music.explain(best.track, playlist=pid)
        assert sum(part.value for part in why.parts) == pytest.approx(best.score, abs=1e-5) == why.score
        songs = {part.song for part in why.parts} - {None}
        assert songs == set(music.shown.take(torch.tensor([p])).col.tolist())
        own = next(part.value for part in why.parts if part.song is None)
        assert abs(own) < abs(best.score)                   # most of it comes from the songs
    best = music.from_seeds([3, 50, 200], 1)[0]
    why = music.explain(best.track, seeds=[3, 50, 200])
    assert sum(part.value for part in why.parts) == pytest.approx(best.score, abs=1e-5)
    assert {part.song for part in why.parts} == {3, 50, 200}


def test_parts_of_lightgcn_are_what_removing_a_message_takes_away(trained):
    """z of a playlist as LightGCN computes it equals its own layer-0 share and the parts of its tracks."""
    run = Trained(trained)
    (A,), x = run.view.adjs.values(), run.net.inputs()["node"].detach()
    parts, neighbours = run.net.model.parts(x, A, run.net.layers, 5)
    assert torch.allclose(x[5] / 3 + parts.sum(0), run.embeddings["playlist"][5], atol=1e-6)
    assert set((neighbours - run.playlists.num_playlists).tolist()) == holds(trained, "train")[5]


def test_paths_are_counted_right(trained):
    run, known = Trained(trained), holds(trained, "train")
    songs, track = [3, 10, 40], 25
    found = {(path.song, path.via): path for path in paths(run.graph, songs, track)}
    for song in songs:
        both = {p for p, tracks in known.items() if {song, track} <= tracks}
        assert found.get((song, "playlist"), None) is None if not both else set(found[song, "playlist"].nodes) == both
        for via, owner in (("artist", run.playlists.track_artist), ("album", run.playlists.track_album)):
            assert ((song, via) in found) == (owner[song] == owner[track])
    sizes = [len(known[p]) for path in found.values() if path.via == "playlist" for p in path.nodes]
    assert all(path.count == len(path.nodes) for path in found.values()) and sizes


@pytest.mark.parametrize("model", ["gat", "hgt"])
def test_models_that_attend_say_to_whom(slices, model):
    run = quick(slices, "--model", model, "--epochs", "1")
    music, known = Recommender.load(run), holds(run, "train")
    why = music.explain(25, seeds=[3, 10])
    assert sum(a.share for a in why.attention) == pytest.approx(1, abs=1e-5)
    assert {a.node for a in why.attention if a.node_type == "playlist"} == {p for p in known if 25 in known[p]}
    assert [a.node for a in why.attention if a.node_type == "album"] == [int(music.playlists.track_album[25])]
