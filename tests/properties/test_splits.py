import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from ibca_lightning.data.tables.splits import keep_share, split_fold, split_groups


@st.composite
def rows(draw):
    """Groups and labels of some rows."""
    number = draw(st.integers(2, 60))
    groups = draw(st.lists(st.integers(0, draw(st.integers(1, 30))), min_size=number, max_size=number))
    labels = draw(st.lists(st.tuples(*[st.sampled_from((0, 1, -1))] * 3), min_size=number, max_size=number))
    return np.array([f"g{group}" for group in groups], np.bytes_), np.array(labels, np.int8)


FRACTIONS = st.sampled_from(([0.8, 0.2], [0.6, 0.2, 0.2], [0.5, 0.5], [0.99, 0.01], [0.25] * 4))


def uncut(groups, parts) -> None:
    """Every row stands in one part, and every group too; no part is empty."""
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    own = [set(groups[part].tolist()) for part in parts]
    assert all(own)
    assert sum(map(len, own)) == len(set(groups.tolist()))


@given(rows(), FRACTIONS, st.integers(0, 2**32 - 1))
def test_all_rows_once_no_group_cut_and_the_seed_repeats_it(given_rows, fractions, seed) -> None:
    groups, labels = given_rows
    assume(len(set(groups.tolist())) >= len(fractions))
    parts = split_groups(groups, labels, fractions, seed)
    uncut(groups, parts)
    assert all(
        np.array_equal(one, two) for one, two in zip(parts, split_groups(groups, labels, fractions, seed), strict=True)
    )
    # The order of the rows is no matter: a shuffled table puts every group into the same part.
    order = np.random.default_rng(seed).permutation(len(groups))
    shuffled = split_groups(groups[order], labels[order], fractions, seed)
    assert [set(groups[part].tolist()) for part in parts] == [set(groups[order][part].tolist()) for part in shuffled]


@given(st.integers(100, 300), st.integers(0, 99), st.floats(0.05, 0.95), st.floats(0.1, 0.6))
def test_many_small_groups_are_split_by_their_fractions(number, seed, frequency, fraction) -> None:
    random = np.random.default_rng(seed)
    groups = np.array([f"g{at // 2}" for at in range(number)], np.bytes_)
    labels = (random.random((number, 2)) < frequency).astype(np.int8)
    first, _ = split_groups(groups, labels, [fraction, 1 - fraction], seed)
    assert abs(len(first) - fraction * number) <= 6
    for column in labels.T:
        assert abs(column[first].sum() - fraction * column.sum()) <= 6


@given(rows(), st.integers(2, 5), st.integers(0, 99))
def test_folds_validate_every_row_once(given_rows, folds, seed) -> None:
    groups, labels = given_rows
    assume(len(set(groups.tolist())) >= folds)
    turns = [split_fold(groups, labels, fold, folds, seed) for fold in range(folds)]
    uncut(groups, [validation for _, validation in turns])
    for training, validation in turns:
        uncut(groups, [training, validation])


@given(rows(), st.floats(0.01, 1), st.integers(0, 99))
def test_a_share_is_whole_groups(given_rows, fraction, seed) -> None:
    groups, labels = given_rows
    assume(len(set(groups.tolist())) >= 2)
    kept = keep_share(groups, labels, fraction, seed)
    assert len(kept)
    assert not set(groups[kept].tolist()) & set(np.delete(groups, kept).tolist())
