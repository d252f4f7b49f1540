"""The arithmetic of the benchmark, and that it covers every head."""

import time

import pytest
import torch

from tests.bench import heads as bench
from tests.heads.contract import HEADS


class Slow(bench.PooledLinear):
    """20 ms a forward, whatever the labels."""

    def forward(self, features, labels=None):
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass
        return super().forward(features, labels)


def test_a_step_is_the_backbone_and_the_head() -> None:
    backbone, linear = (0.4, 1.2), bench.Cost(0.0, 0.05)
    assert bench.multiple(backbone, bench.Cost(0.1, 0.3), linear) == "1.250/1.200"
    assert bench.multiple(backbone, bench.Cost(0.1, None), linear) == "1.250/-"
    assert bench.milliseconds(bench.Cost(0.008, 0.04)) == "1.00/5.00"


def test_seconds_are_of_the_cpu_and_one_call_is_enough_of_what_is_too_long() -> None:
    calls: list[int] = []
    assert bench.seconds(lambda: (calls.append(1), time.sleep(0.05)), repeats=4) < 0.02
    assert len(calls) == 5
    calls.clear()
    bench.seconds(lambda: (calls.append(1), Slow(4, 2)(torch.rand(1, 4, 2, 2))), too_long=0.01)
    assert len(calls) == 1


def test_a_head_that_takes_too_long_to_predict_is_not_trained() -> None:
    features, labels = torch.rand(2, 4, 3, 3), torch.zeros(2, 3)
    cut = bench.time_head(Slow(4, 3), features, labels, too_long=0.01)
    assert cut.train is None
    assert 0.02 <= cut.predict < 0.08, "of one call, not of all"
    whole = bench.time_head(Slow(4, 3), features, labels)
    assert whole.train is not None
    assert whole.train >= 0.02


def test_every_backbone_is_tried_with_the_labels_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, tuple[int, ...]]] = []
    monkeypatch.setattr(bench, "report", lambda chosen, settings: asked.extend(settings) or [])
    bench.main(["--heads", "GAPHead", "--labels", "20", "80", "500"])
    assert asked == [("resnet50", 384, (20, 80, 500)), ("resnet18", 224, (20, 80, 500))]


def test_tables_name_every_head_once_and_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "BATCH", 2)
    monkeypatch.setattr(bench, "ENOUGH", 0.0)
    lines = bench.report(bench.every_head(), (bench.Setting("test_resnet", 32, (3, 4)),))
    assert set(bench.every_head()) == set(HEADS)
    tables = [line.strip("| ").split(" | ") for line in lines if line.startswith("|") and "---" not in line]
    assert [row[1:] for row in tables if row[0] == "head"] == [[f"test_resnet 32 px, {n} labels" for n in (3, 4)]] * 2
    rows = [*(cls.__name__ for cls in bench.every_head()), "MLDecoderHead, published size"]
    assert [row[0] for row in tables] == 2 * ["head", *rows]
    for row in tables:
        if row[0] != "head":
            assert all(float(part) > 0 for cell in row[1:] for part in cell.split("/"))
