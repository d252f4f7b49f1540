"""Alignment of sites: hand-worked cases."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.heads import HeadOutput
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import DomainAlignment, Setting, Step
from ibca_lightning.terms.domain_alignment import distance

KINDS = ("mmd", "coral", "prototype")
WEIGHTS = torch.tensor([[0.5, 0.5, 0, 0, 0], [0, 0, 0.2, 0.3, 0.5]])


def rows() -> Tensor:
    return F.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1)


def loss(x: Tensor, labels: list[int], sites: list[str], p: float = 0.7, kind: str = "prototype") -> Tensor:
    """Of pictures (B, C) of one cell and one class, of which the model says p."""
    given = torch.tensor(labels, dtype=torch.int8)[:, None]
    term = DomainAlignment("site", kind, weight=2.0)
    term.begin(Setting(["a"], given, subgroups={"site": sites}))
    logits = torch.full(given.shape, p).logit()
    output = HeadOutput(logits, torch.ones(len(x), 1, 1, 1), {})
    batch = {"index": torch.arange(len(x))}
    return term(Step(batch, given, output, x[..., None, None], torch.nn.Identity(), lambda _: output))[
        "domain_alignment"
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_sites_that_look_alike_cost_nothing(kind):
    x = rows().float()
    twice = torch.cat([x, 3 * x])  # the length of a feature does not count
    assert float(loss(twice, [1] * 10, ["A"] * 5 + ["B"] * 5, kind=kind)) == pytest.approx(0, abs=1e-6)
    assert float(loss(twice, [1] * 5 + [-1] * 5, ["A"] * 5 + ["B"] * 5, kind=kind)) == pytest.approx(0, abs=1e-6)
    assert float(loss(x, [1, 1, 1, -1, -1], ["A"] * 3 + ["B"] * 2, kind=kind)) > 1e-3


def test_distances_are_those_of_their_definitions():
    x, (a, b) = rows(), WEIGHTS.double()
    means = [w @ x for w in (a, b)]
    covariances = [(x - mean).T @ torch.diag(w) @ (x - mean) for w, mean in zip((a, b), means, strict=True)]
    squared = torch.cdist(x, x) ** 2
    width = sum(w * v * squared[i, j] for i, w in enumerate((a + b) / 2) for j, v in enumerate((a + b) / 2))
    kernel = sum((-squared / (width * 2.0**k)).exp() for k in (-2, -1, 0, 1, 2)) / 5
    expected = {
        "prototype": (means[0] - means[1]).square().sum(),
        "coral": (covariances[0] - covariances[1]).square().sum() / 4,
        "mmd": sum(float((u[:, None] * v * kernel).sum()) * s for u, v, s in ((a, a, 1), (b, b, 1), (a, b, -2))),
    }
    for kind, value in expected.items():
        assert float(distance((x @ x.T)[None], a[None], b[None], kind)) == pytest.approx(float(value), rel=1e-6), kind


def test_two_points_on_an_axis_against_two_across_it():
    """Covariances diag(1, 0) and diag(0, 1): ||difference||^2 = 2, CORAL 1/2. The means are equal."""
    x = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    sites = ["A", "A", "B", "B"]
    assert float(loss(x, [1] * 4, sites, kind="coral")) == pytest.approx(2 * 0.5)
    assert float(loss(x, [1] * 4, sites, kind="prototype")) == pytest.approx(0, abs=1e-7)


def test_source_counts_by_its_label_and_target_by_what_the_model_says():
    x = torch.tensor([[1.0, 0], [0, 1], [0, 1], [0, 1]])
    sites = ["A", "A", "B", "B"]
    assert float(loss(x, [1, 0, -1, -1], sites)) == pytest.approx(2 * 2), "the picture without the class is not asked"
    assert float(loss(x, [0, 1, -1, -1], sites)) == pytest.approx(0)
    assert float(loss(x, [1, 1, -1, -1], sites)) == pytest.approx(2 * 0.5)
    assert float(loss(x, [1, 1, -1, -1], sites, p=0.2)) == 0, "the other site does not show the class by half a picture"
    assert float(loss(x, [0, 0, -1, -1], sites)) == float(loss(x, [1, 1, 0, 0], sites)) == 0


def test_what_is_read_as_a_weight_has_no_gradient_and_the_map_has_one():
    x = rows().float().requires_grad_()
    loss(x, [1, 1, 1, -1, -1], ["A"] * 3 + ["B"] * 2).backward()
    assert (x.grad.abs().sum(1) > 0).all()


def test_a_column_with_one_site_and_one_that_is_not_there_are_one_line():
    labels = torch.ones(2, 1)
    for sites, said in (({"site": ["A", "A"]}, "in the column site, got A alone; add unlabelled: true"),
                        ({"age": ["1", "2"]}, "DomainAlignment's site_column .*, got age there")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            DomainAlignment("site").begin(Setting(["a"], labels, subgroups=sites))
    with pytest.raises(InputError, match="kind mmd, coral, prototype, got adversarial"):
        DomainAlignment("site", kind="adversarial")
