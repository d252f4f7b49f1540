import pickle
import tracemalloc

import pytest
import torch

from ibca_lightning.metrics.store import SampleFacts
from ibca_lightning.system.errors import InputError

ROWS, BATCH = 40_000, 16
NAMES = ["a, b/1.png", "眼底/ü 3.png", "", "line\nbreak\0.png", "b\udcff.png", "6.png"]


def batch(rows, **more):
    return {
        "index": torch.tensor(rows),
        "id": [f"patients/p{row // 3:07d}/study1/view{row % 3}_frontal.jpg" for row in rows],
        "group": [f"p{row // 3:07d}" for row in rows],
        "subgroup": {"sex": ["FM"[row % 2] for row in rows], "site": [f"site {row % 2000}" for row in rows]},
    } | more


def test_a_row_takes_few_more_bytes_than_its_text():
    """In dictionaries of strings it took 445 to 680 bytes: 2 GB a process of 3.5 million rows."""
    batch(range(BATCH))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    facts = SampleFacts()
    for at in range(0, ROWS, BATCH):
        facts.update(batch(range(at, at + BATCH)))
    held = (tracemalloc.get_traced_memory()[0] - before) / ROWS
    tracemalloc.stop()
    text = len("patients/p0000000/study1/view0_frontal.jpg" + "p0000000" + "F" + "site 1234")
    assert held < 1.2 * (text + 8 + 4 * 4), held


def test_what_was_given_comes_back_in_the_order_that_is_asked_for():
    facts, order = SampleFacts(), [4, 0, 5, 2, 1, 3]
    for at in (0, 3):
        rows = order[at : at + 3]
        sites = {"site": [NAMES[-1 - row] for row in rows], "age": [str(row) for row in rows]}
        facts.update({"index": torch.tensor(rows), "id": [NAMES[row] for row in rows], "subgroup": sites})
    asked = torch.tensor([3, 0, 1])
    names = [NAMES[3], NAMES[0], NAMES[1]]
    expected = names, names, {"site": [NAMES[2], NAMES[5], NAMES[4]], "age": ["3", "0", "1"]}
    assert facts.of(asked) == expected
    assert pickle.loads(pickle.dumps(facts)).of(asked) == expected  # as other processes are given it
    assert facts.of(torch.tensor([], dtype=torch.int64))[0] == []
    with pytest.raises(KeyError):
        facts.of(torch.tensor([6]))


def test_a_repeated_sample_counts_once_and_another_one_is_refused():
    facts = SampleFacts()
    facts.update(batch(range(10)))
    facts.update(batch(range(8, 12)))  # as a distributed sampler fills up
    assert len(facts.of(torch.arange(12))[0]) == 12
    wrong = batch([3], id=["other.png"])
    with pytest.raises(InputError, match=r"an index of its own .* 3 for patients/p0000001.* and for other.png"):
        SampleFacts().update({key: [*batch([3])[key], *wrong[key]] for key in ("id", "group")}
                             | {"index": torch.tensor([3, 3])})  # fmt: skip
    facts.update(wrong)  # too few more to be looked at now
    with pytest.raises(InputError, match="an index of its own"):
        facts.of(torch.arange(12))


def test_gathered_facts_are_those_of_all(monkeypatch):
    """Of three in a distributed run, the last saw nothing: as `all_gather_object` hands them to each."""
    first, second, empty = SampleFacts(), SampleFacts(), SampleFacts()
    first.update(batch([4, 0]))
    second.update(batch([0, 3, 1]))
    monkeypatch.setattr(torch.distributed, "all_gather_object", lambda found, own: found.__setitem__(
        slice(None), [pickle.loads(pickle.dumps(each)) for each in (own, second, empty)]
    ))  # fmt: skip
    assert first.gathered(1) is first
    expected = batch([1, 4, 3])
    assert first.gathered(3).of(expected["index"]) == (expected["id"], expected["group"], expected["subgroup"])


def test_few_different_values_are_one_object_each():
    facts = SampleFacts()
    facts.update(batch(range(4000)))
    _, groups, columns = facts.of(torch.arange(4000))
    assert len({id(text) for text in groups}) == len(set(groups))
    assert len({id(text) for text in columns["site"]}) == 2000
