import pickle

import pytest
import torch
import torch.distributed
import torch.multiprocessing

from ibca_lightning.metrics import store as store_module
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.store import EvaluationStore, NonFiniteError

SAMPLES, CLASSES, BATCH = 13, 3, 2


def data():
    generator = torch.Generator().manual_seed(3)
    logits = torch.rand(SAMPLES, CLASSES, generator=generator)
    labels = torch.randint(-1, 2, (SAMPLES, CLASSES), generator=generator).to(torch.int8)
    energy = torch.rand(SAMPLES, CLASSES, generator=generator).masked_fill(labels != 1, torch.nan)
    return logits, labels, energy


def fill(store, indices):
    logits, labels, energy = data()
    for start in range(0, len(indices), BATCH):
        index = torch.tensor(indices[start : start + BATCH])
        store.update(index, logits[index], labels[index], {"energy": energy[index]})


def result(store):
    stored = store.compute()
    return stored.index, stored.logits, stored.labels, stored.pairs["energy"]


def process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    padded, idle = EvaluationStore(), EvaluationStore()
    # What a padded sampler gives: every second sample, and the first once more.
    fill(padded, [*range(rank, SAMPLES, 2), *([0] if rank == 1 else [])])
    fill(idle, range(SAMPLES) if rank == 1 else [])
    torch.save([result(padded), result(idle)], f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path):
    alone = EvaluationStore()
    fill(alone, range(SAMPLES))
    expected, names = result(alone), ["a", "b", "c"]
    torch.multiprocessing.spawn(process, (str(tmp_path),), nprocs=2)
    for rank in range(2):
        for together in torch.load(tmp_path / f"{rank}.pt"):
            for one, two in zip(expected, together, strict=True):
                torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True)
            assert figures(together[1].sigmoid(), together[2], names) == figures(data()[0].sigmoid(), data()[1], names)


def test_duplicates_are_dropped_and_the_order_is_that_of_the_index():
    store = EvaluationStore()
    fill(store, [5, 2, 9, 2, 0, 5])
    logits, labels, energy = data()
    rows = [0, 2, 5, 9]
    index, *values = result(store)
    assert index.tolist() == rows
    for value, whole in zip(values, (logits, labels, energy), strict=True):
        torch.testing.assert_close(value, whole[rows], rtol=0, atol=0, equal_nan=True)


def test_batches_that_are_joined_are_what_they_were(monkeypatch):
    monkeypatch.setattr(store_module, "_BATCHES", 3)
    store, plain = EvaluationStore(), EvaluationStore()
    fill(store, [*range(12, -1, -1), 3])
    store.update(torch.tensor([20]), torch.zeros(1, CLASSES), torch.zeros(1, CLASSES))  # without masks
    assert [len(batch.index) for batch in store._batches] == [6, 6, 2, 1]
    monkeypatch.setattr(store_module, "_BATCHES", 100)
    fill(plain, [*range(12, -1, -1), 3])
    plain.update(torch.tensor([20]), torch.zeros(1, CLASSES), torch.zeros(1, CLASSES))
    for found, expected in zip(result(store), result(plain), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_one_sample_of_one_class_keeps_its_shape():
    store = EvaluationStore()
    store.update(torch.tensor([7]), torch.tensor([[0.5]]), torch.tensor([[1]]))
    stored = store.compute()
    assert (stored.index.shape, stored.logits.shape, stored.labels.shape) == ((1,), (1, 1), (1, 1))
    assert stored.pairs == {}


def test_batches_without_masks_give_no_pairs():
    store = EvaluationStore()
    store.update(torch.tensor([1]), torch.tensor([[0.5]]), torch.tensor([[1]]), {"energy": torch.tensor([[0.25]])})
    store.update(torch.tensor([0]), torch.tensor([[0.5]]), torch.tensor([[1]]))
    energy = store.compute().pairs["energy"]
    assert torch.isnan(energy[0, 0])
    assert energy[1, 0] == 0.25


def test_what_comes_behind_a_result_is_in_the_next():
    store = EvaluationStore()
    with pytest.raises(RuntimeError, match="got none"):
        store.compute()
    fill(store, [1, 2, 3])
    assert store.compute() is store.compute()
    fill(store, [4])
    assert result(store)[0].tolist() == [1, 2, 3, 4]


def test_nan_stops_with_the_samples_named_and_infinity_is_certainty():
    store = EvaluationStore()
    logits = torch.full((3, 2), 0.5)
    logits[1, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="index 42;") as caught:
        store.update(torch.tensor([41, 42, 43]), logits, torch.zeros(3, 2))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    store.update(torch.tensor([42]), torch.tensor([[float("inf"), float("-inf")]]), torch.zeros(1, 2))
    assert store.compute().logits.sigmoid().tolist() == [[1, 0]]
