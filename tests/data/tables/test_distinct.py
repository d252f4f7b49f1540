"""Different texts by their hashes are those that numpy finds by sorting them."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from ibca_lightning.data.tables import distinct as by_hash
from ibca_lightning.data.tables.distinct import all_differ, distinct, shared


def drawn() -> Iterator[NDArray[np.bytes_]]:
    """Few and many texts, short and long, in runs and alone, none at all."""
    rng = np.random.default_rng(0)
    for count, kinds, run in ((0, 1, 1), (1, 1, 1), (40, 3, 1), (300, 7, 20), (300, 290, 1), (5, 1, 5)):
        for width in (1, 8, 13):
            texts = np.array([f"{at:0{width}d}".encode() for at in range(kinds)], "S")
            yield np.repeat(texts[rng.integers(0, kinds, count)], run)


@pytest.fixture(params=["hashes", "one hash for all"], autouse=True)
def hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hash, "_CHUNK", 64)
    if request.param == "one hash for all":
        monkeypatch.setattr(by_hash, "_hashed", lambda texts, words: np.zeros(len(texts), np.uint64))


def test_they_and_their_rows_are_those_of_numpy() -> None:
    for texts in drawn():
        for found, expected in zip(distinct(texts), np.unique(texts, return_inverse=True), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert all_differ(texts) == (len(np.unique(texts)) == len(texts))


def test_shared_ones_are_those_of_numpy_whatever_the_widths() -> None:
    for first in drawn():
        for second in drawn():
            np.testing.assert_array_equal(shared(first, second), np.intersect1d(first, second))


def test_texts_that_end_or_begin_alike_differ() -> None:
    texts = np.array([b"", b"a", b"aaaaaaaa", b"aaaaaaaaa", b"a" * 16, b"a" * 17])
    assert all_differ(texts)
    assert not all_differ(np.append(texts, b""))
    assert shared(texts, texts.astype("S40")).tolist() == sorted(texts.tolist())
