"""The scripts as a user meets them: they run, resume, select without the test part, and refuse bad input in a line."""
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluate
from training import folder as runs
import train
from common.errors import InputError
from gnn import MODELS
from audio.store import write_synthetic
from mpd.split import make_split
from training.trained import Together, Trained

ROOT = Path(__file__).resolve().parents[1]
QUICK = ["--dim", "16", "--batch-size", "512", "--device", "cpu"]


def quick(slices, *flags):
    return train.main(["--data", str(slices), *QUICK, *flags])


def parameters(path):
    return runs.load_checkpoint(path)["net"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ---- it learns -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("neg", ["random", "hard"])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_two_epochs(slices, model, neg):
    out = quick(slices, "--model", model, "--neg", neg, "--epochs", "2")
    rows = list(csv.DictReader(open(out / "history.csv")))
    assert [r["epoch"] for r in rows] == ["1", "2"]
    assert neg == "hard" or float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert {"loss", "grad_norm", "ndcg@10", "recall@10", "seconds", "pairs_per_s"} <= rows[0].keys()


@pytest.mark.parametrize("flags", [["--loss", "bce"], ["--loss", "softmax"], ["--loss", "softmax", "--fanout", "5", "5"],
                                   ["--loss", "softmax", "--score", "dot", "--temperature", "1", "--lr-decay"]])
def test_every_loss_trains(slices, flags):
    out = quick(slices, "--epochs", "3", *flags)
    history = runs.load_checkpoint(out / "last.pt")["history"]
    assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_trains_on_sampled_blocks(slices, model, capsys):
    out = quick(slices, "--model", model, "--fanout", "4", "3", "--epochs", "1", "--neg", "hard", "--warm-up", "0")
    assert "on sampled blocks, fan-out 4 3" in capsys.readouterr().out
    history = runs.load_checkpoint(out / "last.pt")["history"]
    assert history[0]["loss"] < 1 and history[0]["false_negatives"] > 0


@pytest.mark.parametrize("flags", [["--miner", "window", "--window", "200"], ["--semi-hard", "0.5"], ["--mix", "0.3"],
                                   ["--neg-power", "0.75", "--among", "3", "--guard", "1"],
                                   ["--edge-dropout", "0.3", "--recency", "5", "--track-weight", "1"]])
def test_every_kind_of_negative_and_read_out_trains(slices, flags):
    out = quick(slices, "--neg", "hard", "--epochs", "2", *flags)
    assert len(evaluate.main(["--run", str(out), "--k", "10"])) == 1


@pytest.mark.parametrize("by", ["last", "cold"])
def test_other_splits_train_and_evaluate(slices, by):
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
    assert torch.equal(*(runs.load_features(folder)["track"] for folder in (out, refit)))


def test_two_processes_end_where_one_does(slices):
    """Same batches, shared out: the same parameters to rounding, the same metrics."""
    flags = ["--data", str(slices), *QUICK, "--epochs", "2", "--loss", "bpr"]
    one = train.main([*flags, "--out", "one"])
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(ROOT / "train.py"),
                           *flags, "--out", "two"], capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    a, b = parameters(one / "last.pt"), parameters(Path("two/last.pt"))
    assert max(float((a[k] - b[k]).abs().max()) for k in a) < 1e-6
    rows = [runs.load_checkpoint(f / "last.pt")["history"][-1] for f in (one, Path("two"))]
    assert all(rows[0][k] == pytest.approx(rows[1][k], abs=1e-12) for k in rows[0] if "@" in k or k == "r_precision")


def test_lightgcn_beats_popularity_and_prints_the_table(trained, capsys):
    rows = evaluate.main(["--run", str(trained), "--k", "10", "300", "--baselines"])
    text = capsys.readouterr().out
    model, popularity = (next(r for r in rows if r["model"] == name) for name in ("lightgcn", "popularity"))
    assert model["recall@10"] > 2 * popularity["recall@10"] and model["auc"] > popularity["auc"]
    for column in ("Model", "Negatives", "Loss", "AUC", "Recall@10", "Recall@300", "NDCG@10", "R-precision",
                   "Novelty@300", "Coverage@10"):
        assert column in text


def test_json_rows(trained, capsys):
    evaluate.main(["--run", str(trained), "--k", "5", "--json", "--split", "val"])
    (row,) = json.loads(capsys.readouterr().out)
    assert {"model", "negatives", "loss", "auc", "recall@5", "ndcg@5", "r_precision", "clicks", "novelty@5",
            "coverage@5"} <= row.keys()
    assert json.loads((trained / "metrics.json").read_text())["split"] == "val"


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


# ---- resume ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("flags", [[], ["--neg", "random"], ["--model", "gat", "--neg", "hard", "--dropout", "0.2"],
                                   ["--neg", "hard", "--refresh", "2", "--warm-up", "0", "--semi-hard", "0.3"],
                                   ["--neg", "hard", "--miner", "window", "--refresh", "3", "--warm-up", "0"],
                                   ["--model", "rgcn", "--neg", "hard", "--fanout", "4", "3", "--refresh", "3"]])
def test_resume_ends_bit_for_bit_where_an_uninterrupted_run_ends(slices, flags):
    whole = quick(slices, *flags, "--epochs", "4", "--out", "whole")
    quick(slices, *flags, "--epochs", "2", "--out", "parts")
    parts = train.main(["--resume", "parts", "--epochs", "4"])
    assert same(parameters(whole / "last.pt"), parameters(parts / "last.pt"))
    assert same(parameters(whole / "best.pt"), parameters(parts / "best.pt"))
    columns = [[{k: r[k] for k in r if k not in ("seconds", "pairs_per_s")} for r in csv.DictReader(open(f / "history.csv"))]
               for f in (whole, parts)]
    assert columns[0] == columns[1]


def test_resume_after_kill_9(slices):
    flags = ["--data", str(slices), *QUICK, "--epochs", "6"]
    whole = train.main([*flags, "--out", "whole"])
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), *flags, "--out", "killed"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not Path("killed/last.pt").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    killed = train.main(["--resume", "killed"])
    assert same(parameters(whole / "last.pt"), parameters(killed / "last.pt"))


def test_resume_keeps_its_settings(slices):
    out = quick(slices, "--epochs", "1")
    with pytest.raises(InputError, match="--lr cannot change"):
        train.main(["--resume", str(out), "--lr", "0.5"])


@pytest.mark.parametrize("by", ["random", "last", "cold"])
def test_a_refit_learns_from_validation_too_and_keeps_the_test_part(slices, capsys, by):
    out = quick(slices, "--split-by", by, "--epochs", "4", "--seed", "3")
    assert f"train.py --refit {out}" in capsys.readouterr().out
    best = max(runs.load_history(out), key=lambda row: row["ndcg@10"])["epoch"]
    refit = train.main(["--refit", str(out), "--out", "refit"])
    assert len(runs.load_history(refit)) == best and "--refit" not in capsys.readouterr().out
    old, new = (runs.load_split(folder, runs.PARTS) for folder in (out, refit))
    def pairs(*parts):
        return {pair for part in parts for pair in zip(*map(np.ndarray.tolist, tuple(part)))}
    assert pairs(new.train) == pairs(old.train, old.val, old.given_val) and new.val.size == new.given_val.size == 0
    assert pairs(new.test) == pairs(old.test) and pairs(new.given_test) == pairs(old.given_test)
    may_differ = {"out", "epochs", "refit", "device"}
    settings = [{k: v for k, v in runs.load_config(f)["settings"].items() if k not in may_differ} for f in (out, refit)]
    assert settings[0] == settings[1]
    assert Trained(refit).train.size == old.train.size + old.val.size + old.given_val.size
    assert all(row["recall@10"] > 0 for row in evaluate.main(["--run", str(out), str(refit), "--k", "10"]))
    text, hint = capsys.readouterr()
    assert f"\n{out} " in text and "\nrefit " in text                                  # each row says which run it is
    assert hint.count("has not learnt") == 1 and f"--refit {out}" in hint
    with pytest.raises(InputError, match="--lr cannot change"):
        train.main(["--refit", str(out), "--lr", "0.5"])
    with pytest.raises(InputError, match="held nothing out for validation"):
        train.main(["--refit", str(refit)])


def test_runs_on_one_split_are_measured_together(slices, capsys):
    """A score is the sum of the runs' scores, so that a run beside itself ranks as it does alone."""
    split = ["--split-by", "last", "--epochs", "3", "--split-seed", "7"]
    a, b = (quick(slices, *split, "--seed", str(seed), "--out", f"run{seed}") for seed in (1, 2))
    assert not same(parameters(a / "best.pt"), parameters(b / "best.pt"))
    one, two, both = evaluate.main(["--run", str(a), str(b), "--k", "10", "--together", "--split", "val"])
    assert (one["run"], both["run"], both["model"]) == (str(a), "together", "lightgcn × 2")
    assert "together" in capsys.readouterr().out
    opened = [Trained(a), Trained(b)]
    shown = opened[0].places(opened[0].train)
    alone, whole = [run.readout for run in opened], Together(opened).readout
    for table in (lambda r: r.vectors(shown), lambda r: r.fold_in(shown)):
        assert torch.allclose(sum(table(r) @ r.tracks.T for r in alone), table(whole) @ whole.tracks.T, atol=1e-4)
    one, _, twice = evaluate.main(["--run", str(a), str(a), "--k", "10", "--together", "--split", "val"])
    assert one["ndcg@10"] == pytest.approx(twice["ndcg@10"], abs=1e-3)
    refit = train.main(["--refit", str(a), "--out", "refit"])
    leaking = quick(slices, "--split-by", "last", "--split", "0.8", "0.15", "0.05", "--epochs", "1", "--out", "leaking")
    for other in (refit, leaking):
        with pytest.raises(InputError, match="do not share their split"):
            Together([Trained(a), Trained(other)])
    with pytest.raises(InputError, match="two runs or more"):
        evaluate.main(["--run", str(a), "--together"])


def test_a_refit_is_resumed(slices):
    first = quick(slices, "--epochs", "4", "--out", "first")
    with pytest.raises(InputError, match="has not finished"):
        config = runs.load_config(first)
        runs.save_json(first / "config.json", config | {"settings": config["settings"] | {"epochs": 40}})
        train.main(["--refit", str(first)])
    whole = train.main(["--refit", str(first), "--epochs", "4", "--out", "whole"])
    train.main(["--refit", str(first), "--epochs", "2", "--out", "parts"])
    parts = train.main(["--resume", "parts", "--epochs", "4"])
    assert same(parameters(whole / "best.pt"), parameters(parts / "best.pt"))


def test_training_never_reads_the_test_part(slices, monkeypatch):
    """Delete the test part from split.npz before training reads it: the same best.pt comes out."""
    intact = quick(slices, "--epochs", "2")
    create = runs.create

    def create_without_test(folder, *rest):
        create(folder, *rest)
        with np.load(folder / "split.npz") as data:
            kept = {name: data[name] for name in data if "test" not in name}
        np.savez(folder / "split.npz", **kept)
    monkeypatch.setattr(runs, "create", create_without_test)
    blind = quick(slices, "--epochs", "2", "--out", "blind")
    assert same(parameters(intact / "best.pt"), parameters(blind / "best.pt"))
    with pytest.raises(InputError, match="test"):
        evaluate.main(["--run", str(blind)])


def test_split_file_names_its_indices(trained, planted):
    playlists, _ = planted
    with np.load(trained / "split.npz") as data:
        train_pairs, uris = data["train"], data["track_uris"]
    known = set(zip(playlists.playlist.tolist(), (playlists.track_uris[t] for t in playlists.track)))
    assert all((p, uris[t].decode()) in known for p, t in train_pairs[:200].tolist())


# ---- bad input: one line, exit code 2, nothing lost ------------------------------------------------------------------

def refused(*argv):
    """The one line that a script prints for these arguments."""
    done = subprocess.run([sys.executable, *map(str, argv)], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def test_scripts_end_with_one_line_and_code_2():
    assert "nowhere" in refused(ROOT / "train.py", "--data", "nowhere")
    assert "python train.py" in refused(ROOT / "evaluate.py")
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


@pytest.mark.parametrize("flags, problem", [
    (["--k-core", "5000"], "k-core"), (["--k-core", "-3"], "at least 0"), (["--lr", "nan"], "above 0"),
    (["--seed", "-1"], "at least 0"), (["--relation-weights", "1", "0", "0"], "above 0"),
    (["--miner", "window"], "give --neg"), (["--neg", "hard", "--guard", "-1"], "at least 0"),
    (["--neg", "hard", "--miner", "window", "--window", "9999", "--guard", "5000"], "leaves nothing"),
    (["--model", "gat", "--edge-dropout", "0.5"], "leave it out"), (["--split", "nan", "0", "0"], "sum to 1"), (["--split", "0.5", "0.1", "0.1"], "sum to 1"),
    (["--neg", "hard", "--loss", "softmax"], "whole catalogue"), (["--split", "0", "0.5", "0.5"], "nothing to train on"), (["--epochs", "0"], "--epochs 0"),
    (["--model", "lightgcn", "--dropout", "0.3"], "lightgcn"), (["--loss", "bpr", "--lr", "1e30"], "smaller --lr"),
    (["--model", "hgt", "--dim", "10", "--heads", "4"], "does not divide"), (["--device", "tpu"], "tpu")])
def test_bad_flags(slices, flags, problem):
    with pytest.raises(InputError, match=problem):
        quick(slices, "--epochs", "2", *flags)


def test_k_larger_than_the_catalogue(trained):
    with pytest.raises(InputError, match=r"--k 99999: .* 900 tracks|--k 99999"):
        evaluate.main(["--run", str(trained), "--k", "99999"])


def test_an_empty_part_cannot_be_scored(slices):
    out = quick(slices, "--epochs", "1", "--split", "1", "0", "0")
    with pytest.raises(InputError, match="test part is empty"):
        evaluate.main(["--run", str(out)])


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"not a checkpoint", lambda b: b"",
                                    lambda b: b[:9000] + bytes([b[9000] ^ 64]) + b[9001:]])
def test_damaged_checkpoint(trained, damage):
    shutil.copytree(trained, "copy")
    best = Path("copy/best.pt")
    best.write_bytes(damage(best.read_bytes()))
    with pytest.raises(InputError, match="best.pt: damaged checkpoint"):
        evaluate.main(["--run", "copy"])


@pytest.mark.parametrize("name, content", [("split.npz", b"PK"), ("split.npz", None), ("config.json", b"[]"),
                                           ("config.json", b"{"), ("catalogue.npz", b"x")])
def test_damaged_run_files(trained, name, content):
    shutil.copytree(trained, "copy")
    Path("copy", name).unlink() if content is None else Path("copy", name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        evaluate.main(["--run", "copy"])
    with pytest.raises(InputError, match=name):
        train.main(["--resume", "copy", "--epochs", "20"])


def test_a_checkpoint_of_another_run(trained, slices):
    other = quick(slices, "--dim", "8", "--epochs", "1")
    shutil.copytree(trained, "copy")
    shutil.copy(other / "best.pt", "copy/best.pt")
    shutil.copy(other / "best.pt", "copy/last.pt")
    with pytest.raises(InputError, match="best.pt: not of this run"):
        evaluate.main(["--run", "copy"])
    with pytest.raises(InputError, match="not a checkpoint of this run"):
        train.main(["--resume", "copy", "--epochs", "20"])


def test_the_newest_run_is_the_one_started_last(slices, trained):
    first, second = quick(slices, "--epochs", "1"), quick(slices, "--epochs", "1")
    assert first != second
    os.utime(first / "config.json", (1, 1))
    evaluate.main(["--run", str(first), "--k", "5"])                   # measuring a run makes it no newer
    assert runs.newest() == second


def test_a_run_is_never_overwritten(trained, slices):
    before = (trained / "best.pt").read_bytes()
    with pytest.raises(InputError, match="holds a run already"):
        quick(slices, "--out", str(trained))
    assert (trained / "best.pt").read_bytes() == before


def test_a_full_disk_leaves_the_earlier_checkpoint_whole(slices):
    """A limit on file size stands in for the disk that fills up while the checkpoint grows."""
    out = quick(slices, "--epochs", "1", "--out", "full")
    before = {f.name: f.read_bytes() for f in out.iterdir()}
    code = ("import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); sys.path.insert(0, sys.argv[1]); "
            "import train; from common import cli; cli.run(lambda: train.main(['--resume', 'full', '--epochs', '3']))")
    line = refused("-c", code, ROOT)
    assert "full" in line and "cannot be written" in line
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before


def test_not_a_zip(tmp_path):
    (tmp_path / "mpd.zip").write_text("no")
    with pytest.raises(InputError, match="mpd.zip"):
        quick(tmp_path / "mpd.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(InputError, match="empty.zip"):
        quick(tmp_path / "empty.zip")


def test_help_says_what_every_flag_does(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = capsys.readouterr().out
    assert "how messages are passed" in text and "(default: 2)" in text


def test_where_nothing_is_held_out_ends_count_and_training_stops_by_itself():
    whole, held = train.parse(["--split", "1", "0", "0"]), train.parse([])
    assert (whole.recency, held.recency) == (2, 0) and whole.epochs < held.epochs
    assert train.parse(["--split", "1", "0", "0", "--epochs", "9"]).epochs == 9


def test_evaluate_says_what_the_embeddings_mean(trained, capsys):
    (row,) = evaluate.main(["--run", str(trained), "--json"])
    assert json.loads(capsys.readouterr().out) == [row]
    assert row["same_album_auc"] > row["same_artist_auc"] > 0.8 and row["same_genre_auc"] > 0.6
    rows = evaluate.main(["--run", str(trained), "--popularity-penalty", "0", "0.3"])
    assert [r["popularity_penalty"] for r in rows] == [0, 0.3] and rows[0]["novelty@10"] < rows[1]["novelty@10"]
    text = capsys.readouterr().out
    assert "Penalty" in text and "same genre" in text and text.count("lightgcn") == 3


# ---- structure -------------------------------------------------------------------------------------------------------

def test_lookup_gives_rows_of_several_tables_in_the_order_asked_for():
    table = {"playlist": torch.randn(5, 3, requires_grad=True), "track": torch.randn(4, 3, requires_grad=True)}
    wanted = [("track", [3, 0, 3]), ("playlist", [1]), ("track", []), ("playlist", [4, 1])]
    rows = train.lookup(table, *((t, torch.tensor(ids, dtype=torch.int64)) for t, ids in wanted))
    for (t, ids), found in zip(wanted, rows, strict=True):
        assert torch.equal(found, table[t][ids])
    sum(found.sum() for found in rows).backward()
    assert table["track"].grad[:, 0].tolist() == [1, 0, 0, 2] and table["playlist"].grad[:, 0].tolist() == [0, 2, 0, 0, 1]
