"""ranking/baselines.py and nearest.py in bounded memory: neighbours block by block, and methods that cannot fit."""
import numpy as np
import pytest
import torch
from scipy import sparse

import evaluate
import ranking.nearest
from helpers import peak_of
from mpd.split import NO_PAIRS
from ranking.baselines import BASELINES, EASE, GFCF, IALS, ItemKNN, RP3Beta, baseline_needs, fit_baseline
from training.trained import Trained


def playlists(rows, tracks, seed=0):
    """A (rows, tracks) matrix of ones in which few tracks are in many playlists; the last track is in none."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, tracks + 1) ** 0.7
    dense = rng.random((rows, tracks)) < 8 * share / share.sum()
    dense[:, -1] = False
    return sparse.csr_matrix(dense.astype(np.float32))


def whole_knn(X, k, shrink, alpha, idf):
    """`ItemKNN` with the whole product in memory."""
    length = np.diff(X.indptr)
    X = X.copy()
    X.data *= np.repeat(np.where(length > 0, np.maximum(length, 1e-12) ** (-idf / 2), 0), length).astype(X.dtype)
    C = (X.T @ X).tocoo()
    norm = C.diagonal()
    C.data /= norm[C.row] ** alpha * norm[C.col] ** (1 - alpha) + shrink
    return nearest(C.T.tocsr(), k).T.tocsr()


def whole_rp3(X, k, alpha, beta):
    """`RP3Beta` with the whole product in memory."""
    of_playlist, of_track = (np.asarray(X.sum(axis), dtype=np.float64).ravel() for axis in (1, 0))
    def power(degree, exponent):
        return np.where(degree > 0, np.maximum(degree, 1e-12) ** exponent, 0).astype(np.float32)
    to_track, to_playlist = X.copy(), X.copy()
    to_track.data *= np.repeat(power(of_playlist, -1), np.diff(X.indptr))
    to_playlist.data *= power(of_track, -1)[X.indices]
    W = to_playlist.power(alpha).T.tocsr() @ to_track.power(alpha)
    W.data *= power(of_track, -beta)[W.indices]
    return nearest(W, k)


def nearest(W, k):
    """The k largest of each row, and what ties with the last of them, row by row."""
    W = W.tolil()
    for i in range(W.shape[0]):
        value, column = np.array(W.data[i], np.float32), np.array(W.rows[i], np.int64)
        value, column = value[column != i], column[column != i]
        keep = value >= np.sort(value)[-min(k, len(value))] if len(value) else value > 0
        W.data[i], W.rows[i] = value[keep].tolist(), column[keep].tolist()
    return W.tocsr().astype(np.float32)


@pytest.mark.parametrize("product", [1, 500, 10 ** 9])
@pytest.mark.parametrize("method, whole", [
    (ItemKNN(k=5, shrink=2, alpha=0.4, idf=0.5), whole_knn), (ItemKNN(k=1000, shrink=0, alpha=0.5, idf=0), whole_knn),
    (RP3Beta(k=5, alpha=0.3, beta=0.2), whole_rp3), (RP3Beta(k=3, alpha=1, beta=0), whole_rp3)])
def test_neighbours_block_by_block_are_those_of_the_whole_product(method, whole, product, monkeypatch):
    monkeypatch.setattr(ranking.nearest, "PRODUCT", product)
    X = playlists(60, 90)
    found, expected = method.fit(X).weights, whole(X, **vars(method) if not hasattr(method, "weights") else
                                                   {name: vars(method)[name] for name in method.__dataclass_fields__})
    expected.sort_indices()
    assert np.array_equal(found.indptr, expected.indptr) and np.array_equal(found.indices, expected.indices)
    assert np.array_equal(found.data, expected.data)


@pytest.mark.parametrize("method", [ItemKNN(k=20, shrink=2, alpha=0.4, idf=0.5), RP3Beta(k=20, alpha=0.3, beta=0.2)])
def test_neighbours_never_hold_the_whole_product(method, monkeypatch):
    """Nine million co-occurrences, 400 MB while they are sorted, of which 60,000 are kept."""
    monkeypatch.setattr(ranking.nearest, "PRODUCT", 1 << 18)
    X = sparse.csr_matrix((np.random.default_rng(0).random((400, 3000)) < 0.2).astype(np.float32))
    assert (X.T @ X).nnz == 9_000_000 and peak_of(lambda: method.fit(X)) < 60e6


# ---- what a method needs ---------------------------------------------------------------------------------------------

def test_needs_are_those_of_the_formulas():
    X = playlists(60, 90)
    squares = int((np.diff(X.indptr).astype(np.int64) ** 2).sum())
    assert EASE(reg=1).needs(X) == 4 * 60 ** 2 + 4 * 90 ** 2 and EASE(reg=1).needs(X.T) == 12 * 60 ** 2
    assert ItemKNN(k=10 ** 6, shrink=0, alpha=0.5, idf=0).needs(X) - RP3Beta(k=2, alpha=1, beta=0).needs(X) == \
        24 * (squares - 2 * 90)
    assert IALS(dim=8, alpha=1, reg=1, sweeps=1).needs(X) == 8 * (4 * 150 + 20 * 90)
    assert GFCF(8, 0.5, 0.5, 0.1).needs(X) > 12 * 8 * 150


def test_content_adds_to_what_is_needed():
    X, owner = playlists(60, 90), np.arange(90) // 3
    plain, content = (baseline_needs("ease", X, owner, owner, content=content) for content in (False, True))
    assert plain == 4 * 60 ** 2 + 4 * 90 ** 2 < content == 12 * 90 ** 2


def test_ease_of_fifty_slices_is_known_not_to_fit():
    """50,000 playlists of 457,000 tracks: nothing is made to find that out."""
    X = sparse.csr_matrix((50_000, 457_000), dtype=np.float32)
    nobody = np.full(457_000, -1)
    assert baseline_needs("ease", X, nobody, nobody, content=False) > 800e9
    assert all(baseline_needs(name, X, nobody, nobody, content=False) < 12e9 for name in BASELINES if name != "ease")


def test_ease_of_gowalla_needs_what_was_measured():
    X = sparse.csr_matrix((29_858, 40_981), dtype=np.float32)
    assert 10.5e9 < BASELINES["ease"].method.needs(X) < 11e9


@pytest.mark.parametrize("too_large, free, left_out", [
    ((), 22e9, []), (("ease",), None, []), (("ease",), 22e9, ["ease", "ease + content"]),
    (("ease + content", "gf-cf"), 22e9, ["ease + content", "gf-cf", "gf-cf + content"])])
def test_what_cannot_fit_is_left_out_with_one_line(trained, too_large, free, left_out, monkeypatch, capsys):
    def needs(name, X, artist, album, content):
        return 835e9 if {name, name + " + content" * content} & set(too_large) else 1e9
    run = Trained(trained)
    monkeypatch.setattr(evaluate, "baseline_needs", needs)
    monkeypatch.setattr(evaluate, "available", lambda: free)
    monkeypatch.setattr(evaluate, "fit_baseline", lambda *rest: rest)
    nothing = run.places(NO_PAIRS)
    names = [name for name, _ in evaluate.baseline_scores(run, run.places(run.train), nothing)]
    every = [name + content for name in BASELINES for content in ("", " + content")]
    every.remove("popularity + content")
    assert names == [name for name in every if name not in left_out]
    said = capsys.readouterr().err.splitlines()
    assert said == [f"baselines: {name} left out, it would need about 835 GB of memory, and 22 GB are free"
                    for name in too_large if left_out]


def test_scores_of_blocks_are_the_scores_of_one_block(monkeypatch):
    X, nobody = playlists(60, 90), np.full(90, -1)
    def scores():
        return [fit_baseline(name, X, X, nobody, nobody)(torch.arange(60)) for name in
                ("item-knn", "rp3beta")]
    whole = scores()
    monkeypatch.setattr(ranking.nearest, "PRODUCT", 100)
    assert all(torch.equal(a, b) for a, b in zip(whole, scores()))
