"""sampling/links.py: an epoch visits every link once, and processes share it out."""
import pytest
import torch

from gnn import view_of
from mpd.build import build_graph
from mpd.split import make_split
from sampling.links import Links, SampledGraph, WholeGraph
from sampling.negatives import Negatives, is_known, pair_keys
from sampling.neighbors import NeighborSampler

from helpers import seeded


@pytest.mark.parametrize("model", ["lightgcn", "rgcn"])
@pytest.mark.parametrize("whole", [False, True])
def test_an_epoch_visits_every_link_once(planted, model, whole):
    playlists, _ = planted
    train = make_split(playlists).train
    view = view_of(model, build_graph(playlists, train))
    playlist, track = torch.from_numpy(train.playlist).long(), torch.from_numpy(train.track).long()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, seeded())
    messages = WholeGraph(view, playlists.num_tracks, 2)
    links = Links((playlist, track), messages, 1000, negatives, 0 if whole else 2, seeded())
    batches = list(links)
    assert len(batches) == len(links)
    start = playlists.num_playlists if model == "lightgcn" else 0
    seen = torch.cat([b.playlist * 10_000 + b.positive - start for b in batches])
    assert torch.equal(seen.sort().values, (playlist * 10_000 + track).sort().values)
    if not whole:
        assert all(b.negative.shape == (len(b.playlist), 2) and int(b.negative.min()) >= start for b in batches)
    else:
        assert all(b.negative is None and len(b.catalogue) == playlists.num_tracks for b in batches)
        assert sum(len(b.playlist.unique()) for b in batches) <= len(playlist.unique()) + len(batches)


@pytest.mark.parametrize("model", ["lightgcn", "hgt"])
def test_sampled_links_carry_their_blocks_and_no_target(planted, model):
    playlists, _ = planted
    train = make_split(playlists).train
    view = view_of(model, build_graph(playlists, train))
    playlist, track = torch.from_numpy(train.playlist).long(), torch.from_numpy(train.track).long()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, seeded())
    sampler, generator = NeighborSampler(view, [4, 3], seeded()), seeded()
    messages = SampledGraph(view, playlists.num_tracks, sampler, generator)
    links = Links((playlist, track), messages, 500, negatives, 2, generator)
    links.watch(playlist[:0], track[:0])
    seen = []
    for batch in links:
        P, T = view.type_of("playlist"), view.type_of("track")
        p, t = batch.nodes[P][batch.playlist], batch.nodes[T][batch.positive]
        n = batch.nodes[T][batch.negative]
        start_p, start_t = (0, playlists.num_playlists) if model == "lightgcn" else (0, 0)
        seen.append((p - start_p) * 10_000 + t - start_t)
        assert not is_known(pair_keys(playlist, track, 10_000), p - start_p, n - start_t, 10_000).any()
        targets = set(zip(p.tolist(), t.tolist())) | ({(b, a) for a, b in zip(p.tolist(), t.tolist())})
        for (src, _, dst), A in batch.adjs[0].items():
            if {src, dst} <= {P, T}:
                edges = set(zip(batch.nodes[dst][A.row.long()].tolist(), batch.nodes[src][A.col.long()].tolist()))
                assert not edges & (targets if P == T else {(a, b) if (dst, src) == (P, T) else (b, a)
                                                            for a, b in zip(p.tolist(), t.tolist())})
    assert torch.equal(torch.cat(seen).sort().values, (playlist * 10_000 + track).sort().values)
    assert links.false_negatives == 0.0


def test_processes_share_every_batch_without_overlap(planted):
    playlists, _ = planted
    train = make_split(playlists).train
    view = view_of("lightgcn", build_graph(playlists, train))
    playlist, track = torch.from_numpy(train.playlist).long(), torch.from_numpy(train.track).long()

    def batches(*share):
        generator = seeded()
        negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, generator)
        messages = WholeGraph(view, playlists.num_tracks, 2)
        return list(Links((playlist, track), messages, 700, negatives, 1, generator, *share))
    for whole, one, two in zip(batches(), batches((0, 2)), batches((1, 2))):
        assert torch.equal(whole.positive[0::2], one.positive) and torch.equal(whole.positive[1::2], two.positive)
        assert torch.equal(whole.negative[1::2], two.negative)
        assert one.share + two.share == pytest.approx(2)


def test_a_process_without_a_pair_takes_part_without_a_say(planted):
    playlists, _ = planted
    train = make_split(playlists).train
    view = view_of("lightgcn", build_graph(playlists, train))
    playlist, track = torch.from_numpy(train.playlist[:7]).long(), torch.from_numpy(train.track[:7]).long()
    negatives = Negatives(playlist, track, playlists.num_playlists, playlists.num_tracks, seeded())
    messages = WholeGraph(view, playlists.num_tracks, 2)
    batches = list(Links((playlist, track), messages, 6, negatives, 1, seeded(), (1, 2)))
    assert [b.share for b in batches] == [1.0, 0.0] and len(batches[1].positive) == 1
