"""train.py as a user meets it: it learns, by every model, loss, miner and split, and says what is wrong in one line."""
import csv
import json
import runpy
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluate
import train
import training.folder
from audio.store import write_synthetic
from common.errors import InputError
from gnn import MODELS
from mpd.split import make_split
from ranking.baselines import BASELINES
from training.folder import load_checkpoint, load_features

from helpers import QUICK, ROOT, by_hand, parameters, quick, same


@pytest.mark.parametrize("neg", ["random", "hard"])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_two_epochs(slices, model, neg):
    out = quick(slices, "--model", model, "--neg", neg, "--epochs", "2")
    rows = list(csv.DictReader(open(out / "history.csv")))
    assert [r["epoch"] for r in rows] == ["1", "2"]
    assert neg == "hard" or float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert {"loss", "grad_norm", "ndcg@10", "recall@10", "seconds", "pairs_per_s"} <= rows[0].keys()


@pytest.mark.parametrize("flags", [["--loss", "bce"], ["--loss", "softmax"],
                                   ["--loss", "softmax", "--fanout", "5", "5"],
                                   ["--loss", "softmax", "--score", "dot", "--temperature", "1", "--lr-decay"]])
def test_every_loss_trains(slices, flags):
    out = quick(slices, "--epochs", "3", *flags)
    history = load_checkpoint(out / "last.pt")["history"]
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_on_sampled_blocks(slices, model, capsys):
    out = quick(slices, "--model", model, "--fanout", "4", "3", "--epochs", "1", "--neg", "hard", "--warm-up", "0")
    assert "on sampled blocks, fan-out 4 3" in capsys.readouterr().out
    history = load_checkpoint(out / "last.pt")["history"]
    assert history[0]["loss"] < 1 and history[0]["false_negatives"] > 0


@pytest.mark.parametrize("settings", [{"miner": "window", "window": 200}, {"semi_hard": 0.5}, {"mix": 0.3},
                                      {"neg_power": 0.75, "among": 3, "guard": 1},
                                      {"edge_dropout": 0.3, "recency": 5, "track_weight": 1}])
def test_every_kind_of_negative_and_read_out_trains(slices, settings):
    out = by_hand(slices, neg="hard", epochs=2, **settings)
    assert len(evaluate.main(["--run", str(out), "--k", "10"])) == 1


@pytest.mark.parametrize("by", ["last", "cold"])
def test_other_splits_train_and_evaluate(slices, by, monkeypatch):
    ials = BASELINES["ials"]
    monkeypatch.setitem(BASELINES, "ials", replace(ials, method=replace(ials.method, dim=16)))   # 256 take their time
    out = quick(slices, "--split-by", by, "--epochs", "6", "--lr", "0.02")
    model, popularity, *others = evaluate.main(["--run", str(out), "--k", "20", "--baselines"])
    names = {row["model"] for row in others}
    assert "gf-cf" in names and ("ease + content + order" in names) == (by == "last")
    assert model["recall@20"] > 1.5 * popularity["recall@20"]


@pytest.mark.parametrize("model", ["lightgcn", "rgcn"])
def test_features_travel_with_the_run(slices, planted, model, capsys):
    write_synthetic("features.jsonl", *planted)
    out = quick(slices, "--features", "features.jsonl", "--model", model, "--epochs", "2")
    assert "of the tracks have them" in capsys.readouterr().out
    Path("features.jsonl").unlink()
    assert len(evaluate.main(["--run", str(out), "--k", "10"])) == 1
    train.main(["--resume", str(out), "--epochs", "3"])
    refit = train.main(["--refit", str(out), "--out", "refit"])
    assert torch.equal(*(load_features(folder)["track"] for folder in (out, refit)))


def test_two_processes_end_where_one_does(slices):
    """Same batches, shared out: the same parameters to rounding, the same metrics."""
    flags = ["--data", str(slices), *QUICK, "--epochs", "2", "--loss", "bpr"]
    one = train.main([*flags, "--out", "one"])
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, str(ROOT / "train.py"), *flags, "--out", "two"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    a, b = parameters(one / "last.pt"), parameters(Path("two/last.pt"))
    assert max(float((a[k] - b[k]).abs().max()) for k in a) < 1e-6
    rows = [load_checkpoint(f / "last.pt")["history"][-1] for f in (one, Path("two"))]
    assert all(rows[0][k] == pytest.approx(rows[1][k], abs=1e-12) for k in rows[0] if "@" in k or k == "r_precision")


def test_shuffled_labels_score_chance(slices, planted, monkeypatch):
    """Trained on tracks dealt out at random, the model must find held-out tracks no better than a random list."""
    def shuffled(playlists, *rest):
        split = make_split(playlists, *rest)
        rng = np.random.default_rng(0)
        every = np.arange(playlists.num_playlists * playlists.num_tracks)
        cells = rng.choice(every, split.train.size + split.val.size + split.test.size, replace=False)
        start = 0
        for part in (split.train, split.val, split.test):
            part.playlist[:], part.track[:] = np.divmod(cells[start:start + part.size], playlists.num_tracks)
            start += part.size
        return split
    monkeypatch.setattr(train, "make_split", shuffled)
    out = quick(slices, "--epochs", "4", "--node-types", "playlist", "track")
    (row,) = evaluate.main(["--run", str(out), "--k", "90"])
    assert abs(row["recall@90"] - 90 / planted[0].num_tracks) < 0.04 and abs(row["auc"] - 0.5) < 0.05


def test_own_split_data(tmp_path):
    (tmp_path / "train.txt").write_text("".join(f"{u} {' '.join(str((u * 7 + i) % 40) for i in range(6))}\n"
                                                for u in range(60)))
    (tmp_path / "test.txt").write_text("".join(f"{u} {(u * 7 + 6) % 40}\n" for u in range(60)))
    out = quick(tmp_path, "--epochs", "2")
    rows = evaluate.main(["--run", str(out), "--k", "20", "--baselines"])
    assert [r["model"] for r in rows[:2]] == ["lightgcn", "popularity"] and "hit_rate@20" in rows[0]


def test_training_never_reads_the_test_part(slices, monkeypatch):
    """Delete the test part from split.npz before training reads it: the same best.pt comes out."""
    intact = quick(slices, "--epochs", "2")
    create = training.folder.create

    def create_without_test(folder, *rest):
        create(folder, *rest)
        with np.load(folder / "split.npz") as data:
            kept = {name: data[name] for name in data if "test" not in name}
        np.savez(folder / "split.npz", **kept)
    monkeypatch.setattr(training.folder, "create", create_without_test)
    blind = quick(slices, "--epochs", "2", "--out", "blind")
    assert same(parameters(intact / "best.pt"), parameters(blind / "best.pt"))
    with pytest.raises(InputError, match="test"):
        evaluate.main(["--run", str(blind)])


def test_scripts_end_with_one_line_and_code_2(monkeypatch, capsys):
    done = subprocess.run([sys.executable, ROOT / "train.py", "--data", "nowhere"], capture_output=True, text=True)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and "nowhere" in line
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])                   # the other as if in a process of its own
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "evaluate.py"), run_name="__main__")
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert ended.value.code == 2 and "python train.py" in line
    with pytest.raises(InputError, match="--modle"):
        train.main(["--modle", "gcn"])


def slice_with(change, slices, name="mpd.slice.0-299.json"):
    folder = Path("broken")
    shutil.copytree(slices, folder)
    data = json.loads((folder / name).read_text())
    change(data["playlists"])
    (folder / name).write_text(json.dumps(data))
    return folder


def test_a_broken_playlist_is_named_and_can_be_skipped(slices, capsys):
    folder = slice_with(lambda playlists: playlists[3].pop("tracks"), slices)
    with pytest.raises(InputError) as error:
        quick(folder, "--epochs", "1")
    assert all(word in str(error.value) for word in ("mpd.slice.0-299.json", "3", "tracks"))
    quick(folder, "--epochs", "1", "--skip-bad")
    assert "1 skipped playlists" in capsys.readouterr().out


def test_not_a_zip(tmp_path):
    (tmp_path / "mpd.zip").write_text("no")
    with pytest.raises(InputError, match="mpd.zip"):
        quick(tmp_path / "mpd.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(InputError, match="empty.zip"):
        quick(tmp_path / "empty.zip")


def test_lookup_gives_rows_of_several_tables_in_the_order_asked_for():
    table = {"playlist": torch.randn(5, 3, requires_grad=True), "track": torch.randn(4, 3, requires_grad=True)}
    wanted = [("track", [3, 0, 3]), ("playlist", [1]), ("track", []), ("playlist", [4, 1])]
    rows = train.lookup(table, *((t, torch.tensor(ids, dtype=torch.int64)) for t, ids in wanted))
    for (t, ids), found in zip(wanted, rows, strict=True):
        assert torch.equal(found, table[t][ids])
    sum(found.sum() for found in rows).backward()
    assert table["track"].grad[:, 0].tolist() == [1, 0, 0, 2]
    assert table["playlist"].grad[:, 0].tolist() == [0, 2, 0, 0, 1]
