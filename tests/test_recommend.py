"""recommend.py as a user meets it: what it writes, and what it says of wrong flags."""
import csv

import numpy as np
import pytest

import recommend
from common.errors import InputError
from recommending import Recommender
from training.trained import Trained

from helpers import quick


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


def test_data_without_names_and_artists(tmp_path):
    rng = np.random.default_rng(0)
    lists = [sorted(rng.choice(60, 12, replace=False)) for _ in range(50)]
    (tmp_path / "d").mkdir()
    for name, cut in (("train.txt", slice(0, 9)), ("test.txt", slice(9, 12))):
        lines = (f"{u} {' '.join(map(str, items[cut]))}\n" for u, items in enumerate(lists))
        (tmp_path / "d" / name).write_text("".join(lines))
    run = quick(tmp_path / "d", "--epochs", "4")
    found = recommend.main(["--run", str(run), "--playlist", "3", "--explain"])
    assert not {int(r.uri) for r in found} & set(lists[3]) and found[0].artist == ""
    with pytest.raises(InputError, match="no Spotify URIs"):
        (tmp_path / "set.json").write_text('{"playlists": [{"pid": 1, "tracks": []}]}')
        recommend.main(["--run", str(run), "--challenge", str(tmp_path / "set.json"), "--out", "s.csv"])
    with pytest.raises(InputError, match="artist"):
        recommend.main(["--run", str(run), "--similar-artists", "somebody"])


@pytest.mark.parametrize("flags, match", [
    (["--playlist", "no such list"], "none here"), (["--seeds", ""], "none here"),
    (["--seeds", "0", "--n", "0"], "at least 1"), (["--playlist", "0", "--artist-cap", "0"], "at least 1"),
    (["--all"], "--out"), (["--challenge", "x.json"], "--out"),
    (["--challenge", "x.json", "--out", "y.csv"], "x.json"), (["--playlist", "0", "--seeds", "a"], "not allowed"),
    ([], "required"), (["--all", "--check", "x"], "means nothing with --all"),
    (["--playlist", "0", "--out", "x.csv"], "means nothing"), (["--title", "rock", "--explain"], "means nothing"),
    (["--playlist", "0", "--popularity-penalty", "nan"], "must be a number"), (["--similar", ""], "none here"),
    (["--all", "--out", "/"], "no file name"), (["--playlist=--7"], "none here"),
    (["--export", "z.txt"], ".npz or .tsv"), (["--title", "qqqq"], "shares a word"),
    (["--similar", "qqqq"], "none here")])
def test_bad_input_is_one_line(trained, flags, match):
    with pytest.raises(InputError, match=match) as caught:
        recommend.main(["--run", str(trained), *flags])
    assert "\n" not in str(caught.value)
