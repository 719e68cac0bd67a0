"""ranking/baselines.py: scores by hand, independent references, planted blocks, popularity on Gowalla."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from scipy import sparse

import tune_baselines
from helpers import SHARED
from mpd.build import shown_tracks
from mpd.interactions import read_interactions
from mpd.split import NO_PAIRS, Pairs, make_split
from ranking.baselines import (BASELINES, EASE, GFCF, IALS, ItemKNN, RP3Beta, ease_weights, fit_baseline,
                               recency, stack_content)
from ranking.protocol import Part
from ranking.topk import Known, rank

GOWALLA = SHARED / "gowalla.zip"

X = sparse.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]], dtype=np.float32))
SHOWS_0 = sparse.csr_matrix(np.array([[1, 0, 0, 0]], dtype=np.float32))


def noise(playlists, tracks, density=0.2, seed=0):
    """A matrix of ones in random places, no row or column empty."""
    dense = np.random.default_rng(seed).random((playlists, tracks)) < density
    dense[np.arange(playlists), np.arange(playlists) % tracks] = True
    dense[np.arange(tracks) % playlists, np.arange(tracks)] = True
    return sparse.csr_matrix(dense.astype(np.float32))


# ---- each method by hand, or against a reference that shares no code with it

def test_popularity_counts_and_breaks_ties_by_id():
    tied = sparse.vstack([X, [[0, 0, 1, 0]]], format="csr")
    score = fit_baseline("popularity", tied, tied, np.full(4, -1), np.full(4, -1))
    counts = [3, 2, 2, 0]
    assert score(torch.tensor([0, 2])).tolist() == [counts, counts]
    nothing = Known(torch.tensor([], dtype=torch.long), torch.tensor([], dtype=torch.long), 4)
    assert rank(score, torch.tensor([1]), nothing, 4)[1].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("settings, expected", [
    (dict(), [2 / 6 ** 0.5, 1 / 3 ** 0.5]),
    (dict(shrink=1), [2 / (6 ** 0.5 + 1), 1 / (3 ** 0.5 + 1)]),
    (dict(alpha=0.3), [2 / (3 ** 0.3 * 2 ** 0.7), 1 / 3 ** 0.3]),
    (dict(idf=1), [(5 / 6) / (11 / 6 * 5 / 6) ** 0.5, (1 / 3) / (11 / 6 * 1 / 3) ** 0.5]),
    (dict(k=1), [2 / 6 ** 0.5, 0]),                      # track 2 is nearer to 1 (1/√2) than to 0 (1/√3)
])
def test_item_knn(settings, expected):
    method = ItemKNN(**dict(k=10, shrink=0, alpha=0.5, idf=0) | settings).fit(X)
    np.testing.assert_allclose(method.score(SHOWS_0), [[0, *expected, 0]], rtol=1e-6)
    np.testing.assert_allclose(method.score(2 * SHOWS_0), [[0, *(2 * np.array(expected)), 0]], rtol=1e-6)


def test_item_knn_keeps_all_that_tie_for_the_last_place():
    equal = ItemKNN(k=1, shrink=0, alpha=0.5, idf=0).fit(sparse.csr_matrix(np.ones((2, 3), np.float32)))
    np.testing.assert_allclose(equal.weights.toarray(), 1 - np.eye(3), rtol=1e-6)


@pytest.mark.parametrize("settings, expected", [
    (dict(), [5 / 18, 1 / 9]),                                   # ⅓·½ + ⅓·⅓ and ⅓·⅓
    (dict(alpha=2), [1 / 36 + 1 / 81, 1 / 81]),
    (dict(beta=1), [5 / 36, 1 / 9]),
    (dict(k=1), [5 / 18, 0]),
])
def test_rp3beta(settings, expected):
    method = RP3Beta(**dict(k=10, alpha=1, beta=0) | settings).fit(X)
    np.testing.assert_allclose(method.score(SHOWS_0), [[0, *expected, 0]], rtol=1e-6)


def test_ease_is_ridge_regression_of_each_track_on_all_others():
    A, reg = noise(9, 6).toarray().astype(np.float64), 3.0
    expected = np.zeros((6, 6))
    for j in range(6):
        others = np.delete(A, j, axis=1)
        weights = np.linalg.solve(others.T @ others + reg * np.eye(5), others.T @ A[:, j])
        expected[:, j] = np.insert(weights, j, 0)
    weights = ease_weights(sparse.csr_matrix(A), reg, dual=False, dtype=np.float64)
    np.testing.assert_allclose(weights, expected, atol=1e-12)
    method = EASE(reg).fit(sparse.csr_matrix(A))
    Q = noise(4, 6, seed=1)
    np.testing.assert_allclose(method.score(Q), Q.toarray() @ expected, atol=1e-6)


def test_ease_dual_form_equals_primal_form_with_content_rows():
    stacked = stack_content(noise(40, 300), np.arange(300) // 10, np.arange(300) // 4 - 1, 0.7, 1.3)
    dual, primal = (ease_weights(stacked, 5.0, dual, np.float64) for dual in (True, False))
    np.testing.assert_allclose(dual, primal, atol=1e-8)
    assert not np.diagonal(dual).any() and not np.diagonal(primal).any()
    assert not np.diagonal(EASE(reg=5.0).fit(stacked).weights).any()


@pytest.mark.parametrize("dim", [4, 64])                 # rows longer than dim, and rows shorter than dim
def test_ials_solves_the_normal_equations(dim):
    R, V = noise(6, 20, 0.5), torch.randn(20, dim, generator=torch.Generator().manual_seed(0))
    R.data *= np.linspace(0.5, 2, R.nnz).astype(np.float32)
    method = IALS(dim, alpha=3.0, reg=0.5, sweeps=1)
    U, v = method.solve(R, V).numpy(), V.double().numpy()
    for i, row in enumerate(R.toarray()):
        normal = v.T @ (np.eye(20) + 3 * np.diag(row)) @ v + 0.5 * np.eye(dim)
        np.testing.assert_allclose(U[i], np.linalg.solve(normal, v.T @ (3 * row)), atol=2e-4)


def test_ials_folds_a_training_row_in_to_its_own_factors():
    rows = noise(30, 50)
    method = IALS(dim=8, alpha=20.0, reg=20.0, sweeps=4).fit(rows)
    np.testing.assert_allclose(method.solve(rows[7], method.tracks), method.playlists[7:8], atol=1e-5)
    np.testing.assert_allclose(method.score(rows[7]), method.playlists[7:8] @ method.tracks.t(), atol=1e-5)
    assert not method.score(sparse.csr_matrix((1, 50), dtype=np.float32)).any()          # shows nothing


def test_ials_sweeps_lower_the_objective():
    rows = noise(30, 50)

    def objective(method):
        fit = (method.playlists @ method.tracks.t()).numpy()
        penalty = method.playlists.square().sum() + method.tracks.square().sum()
        return float((method.alpha * rows.toarray() * (1 - fit) ** 2 + fit ** 2).sum() + method.reg * penalty)
    values = [objective(IALS(dim=8, alpha=20.0, reg=2.0, sweeps=sweeps).fit(rows)) for sweeps in (1, 2, 4, 8)]
    assert values == sorted(values, reverse=True)


def test_gfcf_equals_a_dense_copy_and_is_deterministic():
    rows, Q = noise(12, 9), noise(4, 9, seed=1)
    A = rows.toarray().astype(np.float64)
    left, right = np.diag(A.sum(1) ** -0.4), np.diag(A.sum(0) ** -0.2)
    U, sigma, Vt = np.linalg.svd(left @ A @ right)
    R, low = left @ A @ right / sigma[0], Vt[:3].T @ Vt[:3]
    expected = Q @ R.T @ R + 0.7 * (Q @ right @ low @ np.linalg.inv(right))
    first, second = (GFCF(3, 0.4, 0.2, 0.7).fit(rows).score(Q) for _ in range(2))
    np.testing.assert_allclose(first, expected, atol=1e-5)
    assert np.array_equal(first, second)


# ---- content and order

def test_content_rows_of_groups_of_two_and_more():
    artist, album = np.array([0, 0, -1, 2]), np.array([-1, 1, 1, 1])        # artist 2 has one track
    stacked = stack_content(X, artist, album, 0.5, 2.0)
    assert stacked[:3].toarray().tolist() == X.toarray().tolist()
    assert stacked[3:].toarray().tolist() == [[0.5, 0.5, 0, 0], [0, 2, 2, 2]]
    assert stack_content(X, artist, album, 0, 2.0).shape == (4, 4)          # weight 0: no rows of artists


def test_content_without_any_known_owner_adds_nothing():
    nobody = np.full(4, -1)
    assert (stack_content(X, nobody, nobody, 1.0, 1.0) != X).nnz == 0
    with_content, plain = (fit_baseline("ials", X, X, nobody, nobody, content, order=False)(torch.arange(3))
                           for content in (True, False))
    assert torch.equal(with_content, plain)


def test_content_reaches_a_track_that_no_playlist_holds():
    artist, nobody = np.array([0, 1, 2, 0]), np.full(4, -1)              # track 3 is by the artist of track 0
    for name in set(BASELINES) - {"popularity"}:
        scores = fit_baseline(name, X, X.sign(), artist, nobody)(torch.tensor([2]))[0]
        assert scores[3] > 0, name


def test_recency_weights():
    positions = sparse.csr_matrix(np.array([[0.5, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=np.float32))
    late, early = 0.2 + 1, 0.2 + np.exp(-2)
    expected = np.array([[early, late, 0], [0, 0, late], [0, 0, 0]])
    expected[0] *= 2 / (late + early)
    expected[1] /= late
    np.testing.assert_allclose(recency(positions, 4, 0.2).toarray(), expected, rtol=1e-6)
    for rate in (None, 0):
        assert recency(positions, rate).toarray().tolist() == positions.sign().toarray().tolist()


# ---- all of them together

def planted(seed=0, blocks=4, playlists=40, tracks=30, length=8):
    """Playlists of one block's tracks each, half of them hidden → train, held, P, T, block of each track
    (T,)."""
    rng = np.random.default_rng(seed)
    rows = np.stack([p % blocks * tracks + rng.permutation(tracks)[:2 * length]
                     for p in range(blocks * playlists)])
    shown, hidden = rows[:, :length], rows[:, length:]

    def pairs(of):
        playlist, position = np.indices(of.shape)
        return Pairs(playlist.ravel(), of.ravel(), position.ravel())
    return pairs(shown), pairs(hidden), len(rows), blocks * tracks, np.arange(blocks * tracks) // tracks


@pytest.mark.parametrize("order", [False, True])
@pytest.mark.parametrize("content", [False, True])
def test_planted_blocks_are_found_by_all_but_popularity(content, order):
    train, held, num_playlists, num_tracks, block = planted()
    positions = shown_tracks(Pairs(*train), num_playlists, num_tracks).scipy()
    part = Part(train, held, NO_PAIRS, num_playlists, num_tracks)
    recalls = {}
    for name in BASELINES:
        score = fit_baseline(name, positions.sign(), positions, block, block, content, order)
        recalls[name] = part.measure(score, [10])[0]["recall@10"]
    chance = recalls.pop("popularity")
    assert chance < 0.15
    assert min(recalls.values()) > 2.5 * chance, recalls


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_a_playlist_that_was_not_trained_on_is_scored_by_what_it_shows(name):
    train, held, num_playlists, num_tracks, block = planted()
    X_all = shown_tracks(Pairs(*train), num_playlists, num_tracks).scipy()
    warm = X_all.copy()
    warm.data[warm.indptr[5]:warm.indptr[6]] = 0         # playlist 5 is shown, but was not there in training
    warm.eliminate_zeros()
    scores = fit_baseline(name, warm.sign(), X_all, block, block)(torch.tensor([5]))[0]
    assert scores.dtype == torch.float32 and scores.shape == (num_tracks,)
    if name != "popularity":
        assert scores[block == block[X_all[5].indices[0]]].mean() > 2 * scores.mean()


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_scores_are_fresh_memory_and_independent_of_the_batch(name):
    train, _, num_playlists, num_tracks, block = planted()
    positions = shown_tracks(Pairs(*train), num_playlists, num_tracks).scipy()
    score = fit_baseline(name, positions.sign(), positions, block, block)
    before = score(torch.tensor([3])).clone()
    score(torch.tensor([3])).fill_(-torch.inf)
    torch.testing.assert_close(score(torch.tensor([7, 3]))[1:], before, atol=1e-5, rtol=1e-5)


# ---- the tuning script

def test_coordinate_search_finds_the_peak_and_asks_once_about_each_setting():
    asked = []

    def worth(settings):
        asked.append(tuple(settings.values()))
        return {tune_baselines.SELECT_BY: -(settings["a"] - 2) ** 2 - (settings["b"] - 30) ** 2}
    grid = {"a": [0, 1, 2], "b": [10, 30]}
    best, metrics, tried = tune_baselines.coordinate_search(worth, {"a": 0, "b": 10}, grid)
    assert best == {"a": 2, "b": 30} and metrics == {tune_baselines.SELECT_BY: 0}
    assert tried == len(asked) == len(set(asked))


def test_settings_are_the_winners_of_the_search():
    stages = {(row["method"], row["stage"]): row["settings"]
              for row in json.loads(tune_baselines.TUNED.read_text())}
    for name, recipe in BASELINES.items():
        assert asdict(recipe.method) | stages[name, "plain"] == asdict(recipe.method)
        if name in tune_baselines.CONTENT_GRID:
            content = dict(stages[name, "content"])
            weights = content.pop("artist_weight"), content.pop("album_weight")
            assert recipe.content == weights
            assert replace(recipe.method, **recipe.with_content) == replace(recipe.method, **content)
            assert recipe.order == (stages[name, "order"]["rate"], stages[name, "order"]["base"])


# ---- real data

@pytest.mark.skipif(not GOWALLA.exists(), reason="needs gowalla.zip")
def test_popularity_on_gowalla_scores_as_published():
    playlists = read_interactions(GOWALLA)
    split = make_split(playlists, "random", (1, 0, 0))
    part = Part(split.train, split.test, NO_PAIRS, playlists.num_playlists, playlists.num_tracks)
    positions = shown_tracks(split.train, playlists.num_playlists, playlists.num_tracks).scipy()
    owners = playlists.track_artist, playlists.track_album
    means, _ = part.measure(fit_baseline("popularity", positions.sign(), positions, *owners), [20])
    names = ("recall@20", "ndcg@20", "hit_rate@20")
    assert [round(means[name], 5) for name in names] == [0.04163, 0.03169, 0.20383]
