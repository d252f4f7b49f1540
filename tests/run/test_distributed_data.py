"""Two real processes with two workers each: which rows they get, with bad pictures, balanced, over epochs and seeds."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import of_two_processes, rows
from tests.datasets.fake_csv import write

BAD = {"train": 4, "val": 1}
DRAWS = 17  # of each process in an epoch of 35 rows: the last batch, of both together, is dropped where it is not full


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The tree, in which one picture of train and one of val cannot be read, and what each process saw."""
    folder = tmp_path_factory.mktemp("ranks")
    tree = folder / "tree"
    write(tree, rows=60)
    for split, row in BAD.items():
        (tree / "images" / rows(tree / f"{split}.csv")[row]["image"]).write_bytes(b"junk")
    command = [sys.executable, "-m", "tests.run.ddp_data_run", str(tree), str(folder)]
    result = subprocess.run(command, env=of_two_processes(), capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 of 35 pictures could not be used in this epoch" in result.stderr + result.stdout
    return tree, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


def ids(tree: Path, split: str) -> list[str]:
    return [row["image"] for row in rows(tree / f"{split}.csv")]


@pytest.mark.slow
def test_every_readable_row_is_trained_on_once_an_epoch_and_each_process_has_as_many(seen) -> None:
    tree, ranks = seen
    every = ids(tree, "train")
    assert len(every) == 2 * DRAWS + 1
    readable = set(every) - {every[BAD["train"]]}
    orders, left_out = [], []
    for epoch in range(2):
        shares = [[name for name, _ in rank["plain"]["train"][epoch]] for rank in ranks]
        assert [len(share) for share in shares] == [DRAWS, DRAWS]
        together = Counter(shares[0] + shares[1])
        orders.append(shares)
        # Twice at most the row behind the bad one, in its place; missing at most the odd row, as from one process with
        # a batch as large as both.
        assert {name for name, times in together.items() if times > 1} <= {every[BAD["train"] + 1]}
        assert together.total() - len(together) <= 1
        assert set(together) <= readable
        left_out.append(readable - set(together))
        assert len(left_out[-1]) <= 1
    assert orders[0] != orders[1]
    assert not left_out[0] & left_out[1]  # another one in each epoch: no row is lost to the run


@pytest.mark.slow
def test_validation_of_both_has_every_readable_row_and_a_stand_in_is_the_row_it_says(seen) -> None:
    tree, ranks = seen
    every = ids(tree, "val")
    found = [row for rank in ranks for row in rank["plain"]["val"]]
    assert {index for index, _, _ in found} == set(range(len(every))) - {BAD["val"]}
    assert all(name == every[index] for index, name, _ in found)
    assert len({(index, image) for index, _, image in found}) == len(every) - 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "balanced"])
def test_no_augmentation_comes_twice_and_a_seed_repeats_each_of_them(seen, kind: str) -> None:
    _, ranks = seen
    images = [image for rank in ranks for epoch in rank[kind]["train"] for _, image in epoch]
    assert len(images) == 2 * 2 * DRAWS
    assert len(set(images)) == len(images)
    for rank in ranks:
        assert rank[kind]["train"] == rank[f"{kind} again"]["train"]
    other = {image for rank in ranks for epoch in rank["plain of another seed"]["train"] for _, image in epoch}
    assert not other & set(images)


@pytest.mark.slow
def test_balanced_draws_are_shared_between_the_processes(seen) -> None:
    tree, ranks = seen
    bad = ids(tree, "train")[BAD["train"]]
    plain = [name for rank in ranks for name, _ in rank["plain"]["train"][0]]
    orders = []
    for epoch in range(2):
        shares = [[name for name, _ in rank["balanced"]["train"][epoch]] for rank in ranks]
        assert [len(share) for share in shares] == [DRAWS, DRAWS]
        assert shares[0] != shares[1]
        assert bad not in shares[0] + shares[1]
        assert len({*shares[0], *shares[1]}) < len(set(plain))  # drawn, not dealt
        orders.append(shares)
    assert orders[0] != orders[1]
