"""Which GPUs runs side by side get, on machines that are pretended."""

from pathlib import Path

import pytest

from ibca_lightning.search.gpus import places, visible_gpus

MACHINE = """GPU 0: NVIDIA H100 (UUID: GPU-aa)
GPU 1: NVIDIA H100 (UUID: GPU-bb)
  MIG 3g.40gb     Device  0: (UUID: MIG-b0)
  MIG 3g.40gb     Device  1: (UUID: MIG-b1)
GPU 2: NVIDIA H100 (UUID: GPU-cc)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\ncat <<END\n{MACHINE}END\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("machine")
def test_gpus_of_the_machine_and_what_is_set_already(monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible_gpus() == ["GPU-aa", "MIG-b0", "MIG-b1", "GPU-cc"]
    for given, seen in (("3,1", ["3", "1"]), ("", []), ("-1", []), ("GPU-x, 2", ["GPU-x", "2"]), ("0,-1,1", ["0"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert visible_gpus() == seen
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", "")
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("asked", "devices", "accelerator", "expected"),
    [
        (None, None, None, ["0", "1", "2", "3", "4"]),
        (None, "auto", "gpu", ["0", "1", "2", "3", "4"]),
        (2, 1, None, ["0", "1"]),
        (7, "1", None, ["0", "1", "2", "3", "4", "0", "1"]),
        (None, 2, None, ["0,1", "2,3"]),
        (None, "5", "cuda", ["0,1,2,3,4"]),
        (None, 6, None, [None]),
        (None, -1, None, [None]),
        (None, [0, 1], None, [None]),
        (2, "0,1", None, [None, None]),
        (None, None, "cpu", [None] * 8),
        (None, 2, "cpu", [None] * 4),
        (3, 2, "cpu", [None] * 3),
    ],
)
def test_shares(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, devices: object, accelerator: str | None, expected: list[object]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4")
    assert places(asked, devices, accelerator, cores=8) == expected
