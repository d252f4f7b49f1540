"""The files of `ibca export`: written, opened again, and compared with the checkpoint.

Shapes: B images, S picture side, L labels, H x W attention grid.
"""

import io
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from ibca_lightning.model.checkpoint import ModelSpec
from ibca_lightning.system.errors import DisagreementError, InputError
from ibca_lightning.use.deployable import INPUT, OUTPUTS, metadata

Arrays = Sequence[np.ndarray]
Runner = Callable[[np.ndarray], Arrays]

_TOLERANCE = 1e-4  # of probabilities and attention
_REPEATS = 5
_LARGEST = 2_000_000_000  # bytes of weights; a protobuf file, which ONNX is, ends at 2 GiB


def runner(module: Callable[[Tensor], Sequence[Tensor]]) -> Runner:
    """A module of tensors as a function of arrays."""

    def run(images: np.ndarray) -> Arrays:
        with torch.inference_mode():
            return [output.numpy() for output in module(torch.from_numpy(images))]

    return run


def _write_program(program: ExportedProgram, spec: ModelSpec, path: Path) -> None:
    content = io.BytesIO()  # torch says of a full disk only that its archive is at an unexpected place
    torch.export.save(program, content, extra_files=metadata(spec))
    path.write_bytes(content.getbuffer())


def _open_program(path: Path) -> Runner:
    return runner(torch.export.load(path).module())


def _write_onnx(program: ExportedProgram, spec: ModelSpec, path: Path) -> None:
    weights = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if weights > _LARGEST:
        raise InputError("weights below 2 GB, which one ONNX file can hold", f"{weights / 1e9:.1f} GB", "write a .pt2")
    onnx = torch.onnx.export(program, dynamo=True, input_names=[INPUT], output_names=list(OUTPUTS), verbose=False)
    assert onnx is not None
    onnx.model.metadata_props.update(metadata(spec))
    onnx.save(str(path), external_data=False)


def _open_onnx(path: Path) -> Runner:
    import onnxruntime

    choices = onnxruntime.SessionOptions()
    choices.intra_op_num_threads = torch.get_num_threads()  # the speeds are compared
    session = onnxruntime.InferenceSession(str(path), choices, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> Arrays:
        answer: Any = session.run(None, {INPUT: images})
        return list(answer)

    return run


KINDS = {".onnx": (_write_onnx, _open_onnx), ".pt2": (_write_program, _open_program)}


def agreement(
    checkpoint: Runner, exported: Runner, size: tuple[int, int], thresholds: Sequence[float], real: Arrays
) -> str:
    """How near the two are, in words, on random pictures of `size` (C, S) and on real ones (B, C, S, S)."""
    random = list(_random_batches(*size))
    found = [compare(checkpoint(batch), exported(batch), thresholds) for batch in (*random, *real)]
    probabilities, attention = map(max, zip(*found, strict=True))
    counts = [f"{sum(map(len, random))} random"] + ([f"{sum(map(len, real))} given"] if real else [])
    within = f"probabilities within {probabilities:.1g}, attention {attention:.1g}"
    return f"agrees on {' and '.join(counts)} pictures: {within}"


def compare(expected: Arrays, got: Arrays, thresholds: Sequence[float]) -> tuple[float, float]:
    """Compare two answers to one batch.

    Args:
        expected: Probabilities (B, L), decisions (B, L), attention (B, L, H, W).
        got: Likewise.
        thresholds: L of them; a decision may differ where a probability is as near to its threshold as the tolerance.

    Returns:
        The largest differences of probabilities and of attention.

    Raises:
        DisagreementError: If one is above the tolerance or not finite, a shape differs, or a decision does.
    """
    for name, one, other in zip(OUTPUTS, expected, got, strict=True):
        if one.shape != other.shape:
            shapes = f"{name} of shape {other.shape}, the checkpoint {one.shape}"
            raise DisagreementError(f"the exported model gives {shapes}")
    differences = []
    for at in (0, 2):
        difference = float(np.abs(expected[at].astype(np.float64) - got[at]).max())
        if not difference <= _TOLERANCE:  # NaN too
            raise DisagreementError(
                f"the exported model's {OUTPUTS[at]} differ from the checkpoint's by {difference:.2g}, more than "
                f"{_TOLERANCE:g}; no file was left"
            )
        differences.append(difference)
    clear = np.abs(expected[0] - np.asarray(thresholds)) > _TOLERANCE
    if (expected[1] != got[1])[clear].any():
        raise DisagreementError("the exported model decides otherwise than the checkpoint; no file was left")
    return differences[0], differences[1]


def _random_batches(channels: int, side: int) -> Iterator[np.ndarray]:
    """Batches of 1, 2 and 5: noise of pixels, and of coarse patches, which reach further into a network."""
    generator = np.random.default_rng(0)
    for count in (1, 2, 5):
        for patch in (1, max(1, side // 8)):
            coarse = generator.integers(0, 256, (count, channels, -(-side // patch), -(-side // patch)), dtype=np.uint8)
            yield np.ascontiguousarray(coarse.repeat(patch, 2).repeat(patch, 3)[..., :side, :side])


def speed(run: Runner, size: tuple[int, int], batch_size: int) -> float:
    """Milliseconds a picture, of `size` (C, S), the median of some batches."""
    channels, side = size
    batch = np.random.default_rng(1).integers(0, 256, (batch_size, channels, side, side), dtype=np.uint8)
    times = []
    for _ in range(_REPEATS + 1):  # the first warms up
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:]) / batch_size
