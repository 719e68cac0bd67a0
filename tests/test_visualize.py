"""The commands of visualize.py: that each draws its picture, legibly, and says in a line what it cannot draw."""
from itertools import combinations

import pytest
from matplotlib.text import Text

import train
import visualize
from common.errors import InputError
from pictures import style


@pytest.fixture(scope="module")
def table(planted):
    return planted[0]


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
