"""Recommendations on planted playlists, where the right answer is known."""
import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluate
import recommend
from training.folder import load_split
import train
from common.errors import InputError
from recommending.explain import paths
from gnn.readout import ReadOut, score_tables
from gnn.sparse import Adj
from recommending.challenge import TRACKS, check_submission, read_challenge
from recommending.lookup import find_artist, find_playlist, find_track, words
from mpd.playlists import Strings
from recommending.rerank import penalised, within_cap
from recommending import Recommender
from training.trained import Trained

QUICK = ["--dim", "16", "--batch-size", "512", "--epochs", "4", "--device", "cpu"]


@pytest.fixture(scope="module")
def music(trained):
    return Recommender.load(trained)


@pytest.fixture(scope="module")
def continued(slices, tmp_path_factory):
    """A run by hidden ends, so that the order of the songs counts, with three layers."""
    out = tmp_path_factory.mktemp("runs") / "last"
    return train.main(["--data", str(slices), "--split-by", "last", "--layers", "3", *QUICK, "--out", str(out)])


def holds(run, *parts):
    """{playlist: set of tracks} of some parts of a run's split."""
    split, found = load_split(run, parts), {}
    for part in parts:
        for p, t in zip(getattr(split, part).playlist.tolist(), getattr(split, part).track.tolist()):
            found.setdefault(p, set()).add(t)
    return found


# ---- completion and fold-in ------------------------------------------------------------------------------------------

def test_a_playlists_tracks_are_never_recommended(music, trained):
    for p, tracks in list(holds(trained, "train", "val", "test").items())[:40]:
        found = music.complete(int(music.playlists.pids[p]), n=50)
        assert len(found) == 50 and not tracks & {r.track for r in found}
        assert [r.score for r in found] == sorted((r.score for r in found), reverse=True)


def test_as_trained_ranks_as_evaluate_does(trained):
    """What `complete` lists is what evaluate.py scores: held-out tracks are candidates, and recall agrees."""
    music, held = Recommender.load(trained, as_trained=True), holds(trained, "test")
    recall = np.mean([len({r.track for r in music.complete(int(music.playlists.pids[p]))} & tracks) / len(tracks)
                      for p, tracks in held.items()])
    (row,) = evaluate.tradeoff(Trained(trained), "test", [0.0], [10])
    assert recall == pytest.approx(row["recall@10"], abs=1e-6)


@pytest.mark.parametrize("model, by", [("lightgcn", "random"), ("lightgcn", "last"), ("gcn", "last"), ("rgcn", "random"),
                                       ("rgcn", "last"), ("hgt", "random")])
def test_fold_in_finds_what_the_playlist_itself_would_find(slices, model, by):
    run = train.main(["--data", str(slices), "--model", model, "--split-by", by, *QUICK])
    music, known, held = Recommender.load(run, as_trained=True), load_split(run, ("train",)).train, holds(run, "test")
    order = np.lexsort((known.position, known.playlist))
    of = {}
    for p, t in zip(known.playlist[order].tolist(), known.track[order].tolist()):
        of.setdefault(p, []).append(t)
    def recall(lists):
        return np.mean([len({r.track for r in lists(p)} & held[p]) / len(held[p]) for p in held if p in of])
    own = recall(lambda p: music.complete(int(music.playlists.pids[p])))
    assert recall(lambda p: music.from_seeds(of[p])) >= 0.9 * own > 0.02


def test_seeds_of_a_genre_bring_that_genre(music, planted):
    _, truth = planted
    genre = dict(zip(planted[0].track_uris, truth.track_genre))
    popular = np.argsort(-music.counts.numpy())
    right = []
    for g in range(3):
        seeds = [int(t) for t in popular if genre[music.playlists.track_uris[t]] == g][:3]
        right += [genre[r.uri] == g for r in music.from_seeds(seeds, n=10)]
    assert np.mean(right) > 2 * np.mean(truth.track_genre == np.bincount(truth.track_genre).argmax())


def test_a_title_brings_the_genre_it_names(music, planted):
    _, truth = planted
    genre = dict(zip(planted[0].track_uris, truth.track_genre))
    right = [genre[r.uri] == g for g, name in enumerate(truth.genre_names[:3]) for r in music.from_title(f"{name} mix!")]
    assert np.mean(right) > 0.5
    with pytest.raises(InputError, match="shares a word"):
        music.from_title("zzzz")


def test_later_songs_count_more_where_ends_were_learnt(continued):
    music = Recommender.load(continued)
    given = music.holding([[5, 9, 30]])
    weights = music.readout.weights(given).dense()[0]
    assert weights[30] > weights[9] > weights[5] > 0
    assert music.from_seeds([5, 9, 30], 5) != music.from_seeds([30, 9, 5], 5)


def test_short_lists_and_long_ones(music):
    T = music.playlists.num_tracks
    everything = music.from_seeds([0, 1, 2], n=T + 50)
    assert len(everything) == T - 3 and {r.track for r in everything} == set(range(3, T))
    assert music.from_seeds([0, 1, 2], n=7) == everything[:7]


# ---- the read-out ----------------------------------------------------------------------------------------------------

def test_the_map_finds_the_way_from_tracks_to_playlists():
    """Playlists that are a rotation of the mean of their tracks: M must be that rotation, up to its pull to the identity."""
    torch.manual_seed(0)
    tracks, turn = torch.randn(40, 4), torch.linalg.qr(torch.randn(4, 4)).Q
    rows, cols = torch.arange(300).repeat_interleave(3), torch.stack([torch.randperm(40)[:3] for _ in range(300)])
    shown, mean = Adj.from_edges(rows, cols.flatten(), (300, 40), torch.ones(900)), tracks[cols].mean(1)
    readout = ReadOut({"playlist": mean @ turn, "track": tracks}, shown)
    C, lam = mean.double(), float((mean.double() ** 2).sum() / 4)
    expected = torch.linalg.inv(C.T @ C + lam * torch.eye(4)) @ (C.T @ C @ turn.double() + lam * torch.eye(4))
    assert torch.allclose(readout.map.double(), expected, atol=1e-4)


def test_cold_playlists_are_folded_in_and_the_others_left():
    torch.manual_seed(0)
    z = {"playlist": torch.randn(3, 4), "track": torch.randn(6, 4)}
    shown = Adj.from_edges([0, 0, 1], [1, 2, 3], (3, 6), torch.tensor([0.5, 1.0, 1.0]))
    given = Adj.from_edges([2, 2], [4, 5], (3, 6), torch.tensor([0.5, 1.0]))
    readout = ReadOut(z, shown, "cosine", recency=2.0, track_weight=0.7)
    playlists, tracks = score_tables(readout, given)
    w = torch.tensor([2.0 ** -2, 1]) / (2.0 ** -2 + 1)             # the track before the last, the last
    own = torch.nn.functional.normalize(z["playlist"], dim=1)
    assert torch.allclose(playlists[0], own[0] + 0.7 * (w @ tracks[[1, 2]]) @ readout.map, atol=1e-6)
    assert torch.allclose(playlists[2], ((0.5 + 0.7 * w) @ tracks[[4, 5]]) @ readout.map, atol=1e-6)


# ---- reasons ---------------------------------------------------------------------------------------------------------

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
    run = train.main(["--data", str(slices), "--model", model, *QUICK[:-4], "--epochs", "1"])
    music, known = Recommender.load(run), holds(run, "train")
    why = music.explain(25, seeds=[3, 10])
    assert sum(a.share for a in why.attention) == pytest.approx(1, abs=1e-5)
    assert {a.node for a in why.attention if a.node_type == "playlist"} == {p for p in known if 25 in known[p]}
    assert [a.node for a in why.attention if a.node_type == "album"] == [int(music.playlists.track_album[25])]


# ---- re-ranking ------------------------------------------------------------------------------------------------------

def test_a_penalty_trades_recall_for_novelty(trained):
    rows = evaluate.tradeoff(Trained(trained), "test", [0.0, 0.2, 1.0], [10])
    assert rows[0]["novelty@10"] < rows[1]["novelty@10"] < rows[2]["novelty@10"]
    assert rows[2]["recall@10"] < rows[0]["recall@10"] and rows[1]["coverage@10"] > rows[0]["coverage@10"]


def test_penalised_is_in_standard_deviations():
    torch.manual_seed(0)
    scores, counts = torch.randn(3, 50) * 7 + 2, torch.randint(0, 90, (50,))
    z = (scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True)
    l = torch.log1p(counts.float())
    assert torch.allclose(penalised(scores, counts, 0.3), z - 0.3 * (l - l.mean()) / l.std(), atol=1e-5)
    assert penalised(scores, counts, 0.0) is scores


def test_the_cap_holds_and_lists_stay_full(music):
    for cap in (1, 2):
        found = music.from_seeds([0, 1, 2], n=40, artist_cap=cap)
        artists = [int(music.playlists.track_artist[r.track]) for r in found]
        assert len(found) == 40 and max(np.bincount(artists)) <= cap
    free = music.from_seeds([0, 1, 2], n=900)
    kept, count = [], {}
    for r in free:                                                  # the plain way
        count[r.artist] = count.get(r.artist, 0) + 1
        kept += [r.track] if count[r.artist] <= 1 else []
    assert [r.track for r in music.from_seeds([0, 1, 2], n=40, artist_cap=1)] == kept[:40]


def test_within_cap_spares_the_unknown():
    ranked, artist = torch.tensor([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]), torch.tensor([0, 0, -1, 0, -1])
    assert within_cap(ranked, artist, 1).tolist() == [[True, False, True, False, True], [True, True, True, False, False]]


# ---- similar, bulk, export -------------------------------------------------------------------------------------------

def test_similar_tracks_and_artists_share_a_genre(music, planted):
    table, truth = planted
    genre = dict(zip(table.track_uris, truth.track_genre)) | dict(zip(table.artist_uris, truth.artist_genre))
    some = np.argsort(-music.counts.numpy())[:20].tolist()
    tracks = [genre[s.uri] == genre[music.playlists.track_uris[t]] for t in some for s in music.similar(t, 5)]
    artists = [genre[s.uri] == genre[uri] for uri in list(music.playlists.artist_uris)[:20]
               for s in music.similar_artists(uri, 5)]
    chance = np.mean(truth.track_genre[:, None] == truth.track_genre)
    assert np.mean(tracks) > 3 * chance and np.mean(artists) > 2 * chance
    assert all(s.index != some[0] for s in music.similar(some[0], 50))


def test_all_writes_what_complete_says(trained, tmp_path):
    recommend.main(["--run", str(trained), "--all", "--n", "6", "--out", "all.csv"])
    rows, music = list(csv.DictReader(open("all.csv"))), Recommender.load(trained)
    assert len(rows) == 6 * music.playlists.num_playlists and rows[0].keys() == {"pid", "rank", "track_uri", "score"}
    for p in (0, 150, 299):
        mine = [row for row in rows if row["pid"] == str(music.playlists.pids[p])]
        assert [row["rank"] for row in mine] == list("123456")
        for row, r in zip(mine, music.complete(int(music.playlists.pids[p]), 6), strict=True):
            assert row["track_uri"] == r.uri and float(row["score"]) == pytest.approx(r.score, abs=1e-5)


@pytest.mark.parametrize("name", ["z.npz", "z.tsv"])
def test_exported_embeddings_are_those_of_the_run(trained, name):
    recommend.main(["--run", str(trained), "--export", name])
    run = Trained(trained)
    if name.endswith("npz"):
        data = np.load(name)
        assert np.allclose(data["track"], run.embeddings["track"].numpy())
        assert data["track_uris"].tolist() == run.playlists.track_uris.tolist()
        assert data["artist_names"].tolist() == run.playlists.artist_names.tolist()
    else:
        lines = [line.rstrip("\n").split("\t") for line in open(name)]
        assert len(lines) == 1 + sum(run.graph.num_nodes.values()) and {len(line) for line in lines} == {3 + 16}
        row = next(line for line in lines if line[1] == run.playlists.track_uris[7])
        assert np.allclose([float(v) for v in row[3:]], run.embeddings["track"][7].numpy(), atol=1e-4)


# ---- the challenge ---------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def challenge(planted, tmp_path_factory):
    """A challenge set of the ten kinds, from planted playlists, some of it outside the catalogue."""
    table, folder, playlists = planted[0], tmp_path_factory.mktemp("challenge"), []
    for i, (titled, n) in enumerate([(True, 0), (True, 1), (True, 5), (False, 5), (True, 10), (False, 10), (True, 25), (True, 2),
                                     (False, 0), (True, 0)]):
        tracks = table.track[table.playlist == i][:n]
        entries = [{"pos": pos, "track_uri": table.track_uris[t]} for pos, t in enumerate(tracks)]
        entries += [{"pos": 99, "track_uri": f"spotify:track:{'x' * 22}"}] * (i == 7)
        playlists.append({"pid": 5000 + i, "num_holdouts": 3, "num_samples": len(entries), "num_tracks": len(entries) + 3,
                          "tracks": entries} | ({"name": table.playlist_names[i]} if titled else {}))
    playlists[9]["name"] = "no such word"
    path = folder / "challenge_set.json"
    path.write_text(json.dumps({"date": "2018", "version": "v1", "playlists": playlists}))
    return path


def test_a_challenge_is_answered_and_passes_the_checker(trained, challenge, capsys):
    flags = ["--challenge", str(challenge)]
    recommend.main(["--run", str(trained), *flags, "--out", "submission.csv.gz"])
    assert "10 playlists, 2 of them by popularity" in capsys.readouterr().out
    recommend.main([*flags, "--check", "submission.csv.gz"])
    lines = [line.strip().split(", ") for line in gzip.open("submission.csv.gz", "rt").readlines()[2:]]
    music = Recommender.load(trained)
    popular = music.counts.argsort(descending=True, stable=True)[:TRACKS].tolist()
    assert lines[8][1:] == [music.run.playlists.track_uris[t] for t in popular] == lines[9][1:]
    recommend.main(["--run", str(trained), *flags, "--out", "capped.csv", "--artist-cap", "8"])
    assert check_submission("capped.csv", read_challenge(challenge)) == []


def test_the_checker_knows_every_rule(trained, challenge, tmp_path):
    recommend.main(["--run", str(trained), "--challenge", str(challenge), "--out", "good.csv"])
    good, tasks = open("good.csv").read().splitlines(), read_challenge(challenge)
    head, rows = good[0], good[2:]

    def wrong(*lines):
        (tmp_path / "bad.csv").write_text("\n".join(lines))
        return " | ".join(check_submission(tmp_path / "bad.csv", tasks))
    assert wrong(*good) == "" and wrong("# a comment", "", *good) == ""
    fields = rows[2].split(", ")
    def changed(i, value):
        return ", ".join(fields[:i] + [value] * (value is not None) + fields[i + 1:])
    cases = {
        "the first line must be team_info": rows,
        "must be main or creative": ["team_info,us,fast,a@b.c", *rows],
        "no e-mail address": ["team_info,us,main,me", *rows],
        "names no team": ["team_info,,main,a@b.c", *rows],
        "team_info has 2 values": ["team_info,us,main", *rows],
        "1 playlists have no line, the first is pid 5009": [head, *rows[:-1]],
        "has 499 tracks": [head, changed(7, None), *rows[:2], *rows[3:]],
        "has 501 tracks": [head, rows[2] + f", spotify:track:{'y' * 22}", *rows[:2], *rows[3:]],
        f"names {fields[3]} twice": [head, changed(7, fields[3]), *rows[:2], *rows[3:]],
        "which the playlist shows": [head, changed(7, tasks[2].tracks[0]), *rows[:2], *rows[3:]],
        "is no track URI": [head, changed(7, "spotify:track:short"), *rows[:2], *rows[3:]],
        "is not in the challenge set": [head, changed(0, "77"), *rows],
        "a second time": [head, *rows, rows[2]],
        "is no pid": [head, "x, y", *rows],
        "the file is empty": [],
    }
    for text, lines in cases.items():
        assert text in wrong(*lines), text
    with pytest.raises(InputError, match="bad.csv: line 3.*has 499 tracks"):
        (tmp_path / "bad.csv").write_text("\n".join([head, "", changed(7, None), *rows[:2], *rows[3:]]))
        recommend.main(["--challenge", str(challenge), "--check", str(tmp_path / "bad.csv")])


@pytest.mark.parametrize("text, match", [("{", "cannot be read"), ("[]", "no list"), ('{"playlists": []}', "no list"),
                                         ('{"playlists": [{"tracks": []}]}', "playlist 0: has no whole number"),
                                         ('{"playlists": [{"pid": 1, "tracks": [{}]}]}', "pid 1.*track_uri"),
                                         ('{"playlists": [{"pid": 1}, {"pid": 1}]}', "a second time"),
                                         ('{"playlists": [{"pid": -1}]}', "no whole number"), ("[" * 200_000, "cannot be read"),
                                         ('{"playlists": [{"pid": 1, "tracks": [{"track_uri": "x", "pos": null}]}]}', "pos")])
def test_broken_challenge_sets_are_refused(tmp_path, text, match):
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(InputError, match=match):
        read_challenge(tmp_path / "set.json")


# ---- names -----------------------------------------------------------------------------------------------------------

def test_names_are_compared_as_people_write_them():
    assert words("Beyoncé – Déjà Vu (Live)") == ["beyonce", "deja", "vu", "live"]


def test_lookups_find_one_or_say_why(planted):
    table = planted[0]
    t = next(t for t in range(table.num_tracks) if table.track_names.tolist().count(table.track_names[t]) == 1)
    artist = table.artist_names[int(table.track_artist[t])]
    assert find_track(table, table.track_uris[t]) == t
    assert find_track(table, f"{artist.upper()}, {table.track_names[t]}") == t
    names = table.playlist_names.tolist()
    twice = next(name for name in names if names.count(name) > 1)
    with pytest.raises(InputError, match=rf"{names.count(twice)} fit: pid \d+"):
        find_playlist(table, twice)
    once = next(p for p, name in enumerate(names) if sum(words(name) == words(n) for n in names) == 1)
    assert find_playlist(table, names[once].upper()) == once == find_playlist(table, str(table.pids[once]))
    assert find_artist(table, table.artist_uris[3]) == 3
    for find, query, match in [(find_track, "spotify:track:nowhere", "not among"), (find_track, "Qqqq", "none here"),
                               (find_track, table.track_names[t][:-1] + "x", "near it"), (find_playlist, "99999", "none here"),
                               (find_artist, "Qqqq", "none here"), (find_track, "", "none here")]:
        with pytest.raises(InputError, match=match):
            find(table, query)


def test_names_without_letters_are_found_as_they_are(planted):
    from dataclasses import replace
    table = planted[0]
    names = table.playlist_names.tolist()
    names[3], names[4], names[5] = "🎉", "party 🎉", "party"
    table = replace(table, playlist_names=Strings.of(names))
    assert [find_playlist(table, name) for name in ("🎉", "party 🎉")] == [3, 4]
    with pytest.raises(InputError, match="none here by its pid or its name$"):
        find_playlist(table, "!!!")


def test_one_song_under_two_uris_is_the_popular_one(planted):
    from dataclasses import replace
    table = planted[0]
    names, artist = table.track_names.tolist(), table.track_artist.copy()
    names[4], names[9], artist[9] = "Only Here", "ONLY here", artist[4]
    table = replace(table, track_names=Strings.of(names), track_artist=artist)
    popularity = np.zeros(table.num_tracks)
    popularity[9] = 5
    assert find_track(table, "only here", popularity) == 9 and find_track(table, "only here") == 4


# ---- what a user does wrong ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("flags, match", [
    (["--playlist", "no such list"], "none here"), (["--seeds", ""], "none here"), (["--seeds", "0", "--n", "0"], "at least 1"),
    (["--playlist", "0", "--artist-cap", "0"], "at least 1"), (["--all"], "--out"), (["--challenge", "x.json"], "--out"),
    (["--challenge", "x.json", "--out", "y.csv"], "x.json"), (["--playlist", "0", "--seeds", "a"], "not allowed"),
    ([], "required"), (["--all", "--check", "x"], "means nothing with --all"),
    (["--playlist", "0", "--out", "x.csv"], "means nothing"), (["--title", "rock", "--explain"], "means nothing"),
    (["--playlist", "0", "--popularity-penalty", "nan"], "must be a number"), (["--similar", ""], "none here"),
    (["--all", "--out", "/"], "no file name"), (["--playlist=--7"], "none here"), (["--export", "z.txt"], ".npz or .tsv"),
    (["--title", "qqqq"], "shares a word"), (["--similar", "qqqq"], "none here")])
def test_bad_input_is_one_line(trained, flags, match):
    with pytest.raises(InputError, match=match) as caught:
        recommend.main(["--run", str(trained), *flags])
    assert "\n" not in str(caught.value)


def test_what_a_challenge_would_refuse_is_not_written(trained, challenge):
    for team in (["--team", "a,b"], ["--team", ""], ["--email", "nope"]):
        with pytest.raises(InputError, match="--team"):
            recommend.main(["--run", str(trained), "--challenge", str(challenge), "--out", "s.csv", *team])
    assert not list(Path(".").glob("*s.csv*"))


def test_a_damaged_submission_is_one_line(trained, challenge, tmp_path):
    recommend.main(["--run", str(trained), "--challenge", str(challenge), "--out", "s.csv.gz"])
    data = bytearray(open("s.csv.gz", "rb").read())
    for damaged in (data[:-20], data[:200] + bytes([data[200] ^ 255]) + data[201:]):
        (tmp_path / "d.csv.gz").write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read|line"):
            recommend.main(["--challenge", str(challenge), "--check", str(tmp_path / "d.csv.gz")])


def test_the_library_refuses_the_same(music):
    for call in (lambda: music.track(3.5), lambda: music.similar(5, n=0), lambda: music.complete(0, popularity_penalty=np.nan),
                 lambda: music.from_seeds([]), lambda: music.from_seeds([10 ** 6]), lambda: music.complete(0, n=0),
                 lambda: music.explain(0), lambda: music.explain(0, playlist=0, seeds=[1])):
        with pytest.raises(InputError):
            call()


def test_data_without_names_and_artists(tmp_path):
    rng = np.random.default_rng(0)
    lists = [sorted(rng.choice(60, 12, replace=False)) for _ in range(50)]
    (tmp_path / "d").mkdir()
    for name, cut in (("train.txt", slice(0, 9)), ("test.txt", slice(9, 12))):
        (tmp_path / "d" / name).write_text("".join(f"{u} {' '.join(map(str, items[cut]))}\n" for u, items in enumerate(lists)))
    run = train.main(["--data", str(tmp_path / "d"), *QUICK])
    found = recommend.main(["--run", str(run), "--playlist", "3", "--explain"])
    assert not {int(r.uri) for r in found} & set(lists[3]) and found[0].artist == ""
    with pytest.raises(InputError, match="no Spotify URIs"):
        (tmp_path / "set.json").write_text('{"playlists": [{"pid": 1, "tracks": []}]}')
        recommend.main(["--run", str(run), "--challenge", str(tmp_path / "set.json"), "--out", "s.csv"])
    with pytest.raises(InputError, match="artist"):
        recommend.main(["--run", str(run), "--similar-artists", "somebody"])
