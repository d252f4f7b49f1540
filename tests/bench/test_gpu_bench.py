"""The benchmark of a GPU, tried out on a CPU; what only a GPU can show is skipped without one, and says so."""

import weakref

import pytest
import torch

from tests.bench import gpu, memory
from tests.command_line import rows
from tests.datasets import fake_csv, fake_idrid_tiles

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: torch.cuda.is_available() is false")
SMALL = ["--device", "cpu", "--backbone", "test_resnet", "--channels", "16", "--size", "64", "--batch", "4",
         "--labels", "3", "--repeats", "1", "--epochs", "1", "--workers", "0", "--backends"]  # fmt: skip


def test_without_a_gpu_it_ends_with_one_line_and_2(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: a GPU for make bench-gpu, got none")
    assert printed.err.count("\n") == 1
    assert not printed.out


@pytest.mark.slow
def test_it_measures_heads_models_and_a_real_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "WARM_UP", 0)
    fake_idrid_tiles.write(tmp_path / "tiles", sources=2)
    options = [*SMALL, "--tiles", str(tmp_path / "tiles"), "--heads", "GAPHead", "IBCAHead",
               "CSRAHead"]  # fmt: skip
    assert gpu.main(options) == 0
    out = capsys.readouterr().out
    table = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    start = [row[0] for row in table].index("head", 1)  # of the second table
    assert [row[0] for row in table[:start]] == ["head", "CSRAHead", "GAPHead", "IBCAHead"]
    for row in table[1:start]:
        assert float(row[1]) > 0
        assert row[4] == "yes"
    assert [row[0] for row in table[start:]] == ["head", "GAPHead, eager", "IBCAHead, eager", "CSRAHead, eager"]
    assert table[start + 1][2] == "1.000"
    for row in table[start + 1 :]:
        assert float(row[1]) > 0
    assert out.count("IBCA over GAP") == 1
    assert "1 epochs of IDRiD tiles" in out


def test_a_head_that_is_not_finite_fails_the_benchmark_and_the_goal_is_compared(monkeypatch, capsys, tmp_path):
    class Broken(gpu.GAPHead):
        def forward(self, features, labels=None):
            output = super().forward(features, labels)
            return output._replace(logits=output.logits * torch.inf)

    monkeypatch.setattr(gpu, "every_head", lambda: [Broken])
    monkeypatch.setattr(gpu, "model_steps", lambda *_: gpu.Steps(1.0, 0.0))
    assert gpu.main([*SMALL, "--tiles", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "| NO |" in out
    assert "real training: not run" in out
    assert gpu.ratio_line(gpu.Steps(100, 0), gpu.Steps(94, 0)).endswith("0.940, goal 0.95: NOT reached")
    assert gpu.ratio_line(gpu.Steps(100, 0), gpu.Steps(96, 0)).endswith("0.960, goal 0.95: reached")


def test_a_model_that_refers_to_itself_is_gone_before_memory_is_counted_anew():
    model = torch.nn.Linear(2, 2)
    model.itself = [model]
    last = weakref.ref(model)
    del model
    assert last() is not None
    gpu.forget(torch.device("cpu"))
    assert last() is None


def test_memory_is_compared_with_that_after_the_second_epoch(tmp_path):
    assert memory.line("x", [90.0, 100.0, 100.5]) == "x: MB after epoch 2: 100; +0.5 MB since the second"
    fake_csv.write(tmp_path, rows=30)
    memory.lengthen(tmp_path, 20)
    found = rows(tmp_path / "train.csv")
    assert len({row["image"] for row in found}) == len(found) == 20
    assert all((tmp_path / "images" / row["image"]).is_file() for row in found)


@NO_GPU
def test_every_head_is_finite_in_bf16_on_a_gpu_and_compiled_as_eager():
    for cls in gpu.every_head():
        features, labels = torch.randn(4, 32, 4, 4, device="cuda"), torch.ones(4, 3, dtype=torch.int8, device="cuda")
        assert gpu.head_line(cls, features, labels, 1).endswith("| yes |"), cls
        assert gpu.compiled_away(cls(32, 3).cuda(), features, "inductor") < 1e-3, cls
        torch.compiler.reset()


@NO_GPU
def test_float16_with_its_scaler_trains_near_float32_on_a_gpu():
    from tests.training import Pictures, loader, module, trainer

    scores = []
    for precision in ("32-true", "16-mixed"):
        model, pictures = module(optimizer=lambda groups: torch.optim.AdamW(groups, lr=3e-3)), Pictures(32)
        trainer(max_epochs=5, precision=precision, accelerator="gpu").fit(model, loader(pictures), loader(pictures))
        scores.append(model.evaluations["val"].figures["metrics"]["mAP"])
    assert scores[1] == pytest.approx(scores[0], abs=0.02)
