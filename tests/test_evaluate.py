"""evaluate.py as a user meets it."""
import json

import pytest
import torch

import evaluate
import train
from common.errors import InputError
from training.trained import Together, Trained

from helpers import parameters, quick, same


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


def test_k_larger_than_the_catalogue(trained):
    with pytest.raises(InputError, match=r"--k 99999: .* 900 tracks|--k 99999"):
        evaluate.main(["--run", str(trained), "--k", "99999"])


def test_an_empty_part_cannot_be_scored(slices):
    out = quick(slices, "--epochs", "1", "--split", "1", "0", "0")
    with pytest.raises(InputError, match="test part is empty"):
        evaluate.main(["--run", str(out)])


def test_evaluate_says_what_the_embeddings_mean(trained, capsys):
    (row,) = evaluate.main(["--run", str(trained), "--json"])
    assert json.loads(capsys.readouterr().out) == [row]
    assert row["same_album_auc"] > row["same_artist_auc"] > 0.8 and row["same_genre_auc"] > 0.6
    rows = evaluate.main(["--run", str(trained), "--popularity-penalty", "0", "0.3"])
    assert [r["popularity_penalty"] for r in rows] == [0, 0.3] and rows[0]["novelty@10"] < rows[1]["novelty@10"]
    text = capsys.readouterr().out
    assert "Penalty" in text and "same genre" in text and text.count("lightgcn") == 3
