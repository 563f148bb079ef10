"""Clusters of planted decoders by both distances."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from latentrun.diagnostics.decoder.geodesic_clustering import GeodesicClustering
from latentrun.diagnostics.decoder.geodesic_clustering_measure import (
    AlongGraph,
    Euclidean,
    k_means,
    spread_start,
)
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.geometry.energy import Settings
from latentrun.geometry.graph import Graph
from latentrun.geometry.shortest import distances
from latentrun.geometry.surface import Immersed
from latentrun.types import Factor
from tests.planted import Deterministic, Rows, planted_run


def make(**changes) -> GeodesicClustering:
    values = {
        "classes": "all",
        "clusters": None,
        "distance": "graph",
        "nodes": 400,
        "neighbours": 8,
        "rows": 60,
        "repetitions": 4,
        "starts": 3,
        "rounds": 50,
        "pieces": 8,
        "times": 17,
        "tolerance": 1e-4,
        "iterations": 50,
    }
    return GeodesicClustering(**(values | changes))


def planted(decode, z, labels):
    factor = Factor("class", "categorical", 0.0, float(labels.max()))
    data = Rows(z, labels[:, None].float(), (factor,), labels)
    return planted_run(Deterministic(lambda x: x, decode, 2, (2,)), data)


def rings(n=400):
    noise = Noise(0).at("rings")
    label = torch.arange(n) % 2
    angle = 2 * math.pi * noise.uniform("angle", (n,))
    r = torch.where(label == 1, 2.0, 0.7) + 0.05 * noise.normal("r", (n,))
    return torch.stack([r * angle.cos(), r * angle.sin()], 1), label


def fenced(z, high=20, steep=20):
    """Flat, but for a step at radius 1.35."""
    return torch.cat([z, high * torch.sigmoid(steep * (z.norm(dim=1, keepdim=True) - 1.35))], 1)


def test_rings_that_euclid_cuts_through_are_found_by_geodesic_distance():
    report = make(rows=100)(planted(fenced, *rings()), Noise(0))
    assert report.metrics["f_measure.geodesic"].value == 1
    assert report.metrics["pair_f.geodesic"].value == 1
    assert report.metrics["f_measure.euclidean"].value < 0.8
    assert report.metrics["f_measure.gain"].low > 0.2 and report.metrics["agreement"].value < 0.9
    assert report.metrics["settled.geodesic"].value == 1
    assert len(report.tables["repetitions"]) == 4 and not any("share codes" in n for n in report.notes)
    pictures = make().plot(report)
    assert set(pictures) == {"repetitions", "clusters"}


@pytest.mark.slow
def test_by_curves_the_answer_is_the_same():
    fence, changes = partial(fenced, high=8, steep=5), {"nodes": 120, "rows": 24, "rounds": 4}
    solver = {"pieces": 4, "times": 9, "iterations": 30, "tolerance": 1e-3}
    few = make(distance="curves", repetitions=1, starts=1, **changes, **solver)
    report = few(planted(fence, *rings()), Noise(0))
    assert report.metrics["f_measure.geodesic"].value == 1 and report.metrics["failed"].value < 0.1
    assert report.metrics["f_measure.euclidean"].value < 0.8


def test_with_a_flat_decoder_geodesic_and_euclidean_clusters_are_the_same():
    turned = torch.tensor([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0]])
    noise = Noise(0).at("blobs")
    labels = torch.arange(300) % 3
    centre = torch.tensor([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
    z = centre[labels] + 0.5 * noise.normal("z", (300, 2))
    run = planted(lambda z: z @ turned, z, labels)
    report = make(distance="curves", repetitions=2, starts=1, rows=30, nodes=100)(run, Noise(0))
    assert report.metrics["agreement"].value == 1
    assert report.metrics["f_measure.gain"].value == 0 and report.metrics["failed"].value == 0
    row = report.tables["repetitions"].iloc[0]
    assert row["inertia_geodesic"] == pytest.approx(row["inertia_euclidean"], rel=1e-3)
    assert report.arrays["centres_geodesic"] == pytest.approx(report.arrays["centres_euclidean"], abs=1e-3)
    by_graph = make(repetitions=2, rows=100)(run, Noise(0))
    assert by_graph.metrics["agreement"].value > 0.9


def test_lengths_along_the_graph_are_a_few_per_cent_above_those_of_geodesics():
    z = rings()[0]
    surface = Immersed(lambda z: torch.cat([z, z.square().sum(1, keepdim=True)], 1), 2)
    length = Graph(surface, z, neighbours=8, parts=4).distances(np.arange(0, 400, 20))[:, ::20]
    exact = distances(surface, z[::20], None, Settings()).length.double().numpy()
    i, j = np.triu_indices(20, 1)
    excess = length[i, j] / exact[i, j] - 1
    assert excess.min() > -1e-3 and np.median(excess) < 0.1


def test_k_means_has_the_inertia_of_scikit_learn():
    from sklearn.cluster import KMeans

    z = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
    start = spread_start(z, 4, Noise(0))
    assert len(start.unique()) == 4
    ours = k_means(Euclidean(z, lambda z: z), start, 100)
    theirs = KMeans(4, init=z[start].double().numpy(), n_init=1, tol=0).fit(z.double().numpy())
    assert ours.settled and ours.inertia == pytest.approx(theirs.inertia_)
    assert np.array_equal(ours.clusters.numpy(), theirs.labels_)


def test_the_centre_along_a_graph_is_the_node_with_the_least_squares():
    """Points at 0, 1, 5, 20, 21 on a line, among nodes 0 ... 21: their mean, not their median."""
    nodes = torch.arange(22.0)[:, None].double()
    rows = torch.tensor([0, 1, 5, 20, 21])
    means = AlongGraph((nodes - nodes.T).abs()[:, rows], nodes, rows)
    found = k_means(means, torch.tensor([0, 1]), 20)
    assert found.clusters.tolist() == [0, 0, 0, 1, 1] and found.centres[:, 0].tolist() == [2, 20]
    assert found.inertia == 4 + 1 + 9 + 1 and found.settled
    assert not k_means(means, torch.tensor([0, 1]), 1).settled


def test_classes_are_chosen_and_wrong_ones_refused():
    z, labels = rings()
    run = planted(fenced, z, labels + 2 * (torch.arange(400) % 4 == 0).long())
    report = make(classes=[0, 1], clusters=3)(run, Noise(0))
    assert report.arrays["class_names"].tolist() == ["0", "1"]
    assert len(report.arrays["centres_geodesic"]) == 3
    with pytest.raises(InputError, match=r"class of diagnostic.geodesic_clustering.classes.*'7'.*0, 1, 2"):
        make(classes=[0, 7]).check(run.model, run.data)
    with pytest.raises(InputError, match="at least two classes"):
        make(classes=[1, 1])


def test_what_cannot_be_clustered_is_said():
    z, labels = rings()
    with pytest.raises(NothingToMeasure, match="of one class"):
        make()(planted(fenced, z, torch.zeros_like(labels)), Noise(0))
    with pytest.raises(NothingToMeasure, match="constant"):
        make()(planted(torch.ones_like, z, labels), Noise(0))
    with pytest.raises(NothingToMeasure, match="too few for 5 clusters"):
        make(rows=5, clusters=5)(planted(fenced, z, labels), Noise(0))
    torn = make(rows=200)(
        planted(lambda z: torch.where(z.norm(dim=1, keepdim=True) < 1, torch.nan, z), z, labels), Noise(0)
    )
    assert any("no way leads" in note for note in torn.notes)
    assert any("share codes" in note for note in torn.notes)
    assert np.isfinite([estimate.value for estimate in torn.metrics.values()]).all()
