"""No memory left is one line that says what to lower; training itself takes no more from epoch to epoch."""

import gc

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from ibca_lightning.heads import IBCAHead
from ibca_lightning.model.module import MultiLabelModule
from tests.command_line import experiment, ibca, written
from tests.training import Pictures, loader, module, trainer

CPU = "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
CUDA = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB"


def on_a_gpu(*_):
    raise torch.OutOfMemoryError(CUDA)


def on_a_cpu(*_):
    try:
        raise RuntimeError(CPU)
    except RuntimeError as error:
        raise ValueError("wrapped on the way") from error


def in_numpy(*_):
    np.empty(2**50)


@pytest.mark.parametrize("step", [on_a_gpu, on_a_cpu, in_numpy])
def test_no_memory_left_is_one_line_with_what_to_lower(step, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(MultiLabelModule, "training_step", step)
    result = ibca("fit", "--config", written(tmp_path / "e.yaml", experiment(tree)), "--run_dir", tmp_path / "run")
    assert result.code == 1
    (line,) = result.errors
    for what in ("data.batch_size", "data.image_size", "precision bf16-mixed", "accumulate_grad_batches"):
        assert what in line
    assert "Traceback" not in result.err
    assert not (tmp_path / "run").exists()  # nothing was trained, so the mended command can be run again


def test_another_failure_is_not_taken_for_want_of_memory(tree, tmp_path, monkeypatch):
    def step(*_):
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(MultiLabelModule, "training_step", step)
    result = ibca("fit", "--config", written(tmp_path / "e.yaml", experiment(tree)), "--run_dir", tmp_path / "run")
    (line,) = result.errors
    assert result.code == 1
    assert line.startswith("error: RuntimeError: size mismatch, at tests/system/test_out_of_memory.py, line ")
    assert line.endswith(", in step; run again with --debug for the traceback")


class Counts(Callback):
    """Tensors that are alive at the end of each epoch, and the bytes they hold."""

    def __init__(self):
        self.tensors = []

    def on_train_epoch_start(self, trainer, pl_module):
        gc.collect()
        alive = [o for o in gc.get_objects() if type(o) in (torch.Tensor, torch.nn.Parameter)]
        self.tensors.append((len(alive), sum(t.nbytes for t in alive)))


@pytest.mark.slow
def test_no_tensor_is_kept_from_one_epoch_to_the_next():
    counts, pictures = Counts(), Pictures(8, masks=True)
    model = module(head=IBCAHead, ema_decay=0.5)
    trainer(max_epochs=6, callbacks=[counts], accumulate_grad_batches=3).fit(
        model, loader(pictures, 4), loader(pictures)
    )
    assert len(set(counts.tensors[2:])) == 1, counts.tensors
