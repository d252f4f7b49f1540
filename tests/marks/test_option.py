"""Which pictures have which marks: as many as asked for, the same in any order."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ibca_lightning.marks.kinds import KINDS
from ibca_lightning.marks.option import Marks
from ibca_lightning.system.errors import InputError

CLASSES = ["a", "b", "c"]
NAMES = [f"{row}.png" for row in range(2000)]
LABELS = np.random.default_rng(0).choice(np.array([0, 1, -1], np.int8), (2000, 3), p=[0.6, 0.3, 0.1])


def shown(marks: Marks, rows: Any = slice(None), share: float | None = None) -> NDArray[np.bool_]:
    return marks.painter(np.array(NAMES)[rows].tolist(), LABELS[rows], CLASSES, share).shown


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 0.95, 1.0])
def test_a_mark_comes_with_its_class_as_often_as_rho_says(rho: float) -> None:
    for share in (None, rho):
        drawn = shown(Marks(rho), share=share)
        for label in range(3):
            assert drawn[LABELS[:, label] == 1, label].mean() == pytest.approx(rho, abs=2e-3)
            assert drawn[LABELS[:, label] == 0, label].mean() == pytest.approx(1 - rho, abs=1e-3)
    assert not drawn[LABELS == -1].any()
    assert Marks(rho).test_shares == {"same": rho, "independent": 0.5, "reversed": 1 - rho}


def test_the_number_of_conflicts_is_exact_and_fewer_are_among_more() -> None:
    def contrary(**options: Any) -> NDArray[np.bool_]:
        return (shown(Marks(**options)) != (LABELS == 1)) & (LABELS >= 0)

    def numbers(where: NDArray[np.bool_]) -> list[int]:
        return [int(where[LABELS[:, at] == value, at].sum()) for at in range(3) for value in (1, 0)]

    before = np.zeros(LABELS.shape, bool)
    for number in (0, 1, 2, 4, 8, 16):
        found = contrary(at_least=number)
        assert numbers(found) == 6 * [number]
        assert not (before & ~found).any()
        before = found
    counts = [int((LABELS[:, at] == value).sum()) for at in range(3) for value in (1, 0)]
    assert numbers(contrary(conflicts=0.02)) == [int(0.02 * count + 0.5) for count in counts]
    assert numbers(contrary(conflicts=0.02, at_least=20)) == [max(20, int(0.02 * count + 0.5)) for count in counts]
    assert numbers(contrary(at_least=10**6)) == counts
    assert numbers(contrary(rho=0.5, conflicts=0.0)) == 6 * [0]
    assert np.array_equal(shown(Marks(at_least=3), share=0.95), shown(Marks(), share=0.95))  # of training alone


def test_order_does_not_matter_and_the_seed_does() -> None:
    order = np.random.default_rng(1).permutation(len(NAMES))
    assert np.array_equal(shown(Marks(0.7), order), shown(Marks(0.7))[order])
    assert not np.array_equal(shown(Marks(0.7, seed=1)), shown(Marks(0.7)))
    lots = [Marks(seed=seed).kinds_of(CLASSES) for seed in range(5)]
    assert len({tuple(kinds) for kinds in lots}) > 1
    assert Marks(kinds=["hair", "text", "tube", "stain"]).kinds_of(CLASSES) == ["hair", "text", "tube"]
    assert "a with hair, b with text" in Marks(kinds=["hair", "text"]).summary(["a", "b"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rho": 1.1}, "rho in"), ({"rho": float("nan")}, "rho in"), ({"conflicts": -0.1}, "conflicts in"),
        ({"at_least": -1}, "at_least of 0 or more"), ({"seed": -1}, "seed of 0 or more"),
        ({"kinds": ["hairs"]}, "got hairs"), ({"kinds": ["hair", "hair"]}, "hair twice"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Marks(**options)


def test_more_classes_than_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="each of 3 classes"):
        Marks(kinds=["hair"]).kinds_of(CLASSES)
    with pytest.raises(InputError, match=f"each of {len(KINDS) + 1} classes"):
        Marks().kinds_of(["x"] * (len(KINDS) + 1))
