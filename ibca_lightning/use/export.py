"""`ibca export`: a checkpoint as one file that runs without this package, checked against the checkpoint first."""

import statistics
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibca_lightning.system.errors import DisagreementError, InputError
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.whole_files import write_whole
from ibca_lightning.use.model_options import CHECKPOINT, add_images, listed, opened

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    import numpy as np
    from torch import Tensor
    from torch.export import ExportedProgram

    from ibca_lightning.model.checkpoint import ModelSpec
    from ibca_lightning.use.predictor import Predictor

    Arrays = Sequence[np.ndarray]
    Runner = Callable[[np.ndarray], Arrays]

TOLERANCE = 1e-4  # of probabilities and attention
_MOST = 256  # of the given pictures: agreement is no matter of thousands
_REPEATS = 5
_LARGEST = 2_000_000_000  # bytes of weights; a protobuf file, which ONNX is, ends at 2 GiB


def export(arguments: list[str]) -> int:
    """Write the file.

    Args:
        arguments: Options behind `ibca export`.

    Returns:
        0; every failure is an exception.
    """
    options = _parse(arguments)
    path = Path(options.output)
    if path.suffix == ".onnx":
        _require_packages("onnxruntime", "onnxscript")
    files = list(listed(options).files.values())[:_MOST] if options.images else []
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from ibca_lightning.use.deployable import Deployed, program_of

    predictor = opened(options.ckpt_path, "cpu")
    real = [predictor.see(file).image[None].numpy() for file in files]
    said: list[str] = []

    def write(temporary: Path) -> None:
        write_file, open_file = (_write_onnx, _open_onnx) if path.suffix == ".onnx" else (_write_program, _open_program)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter, about its own insides
            write_file(program_of(predictor), predictor.spec, temporary)
            exported = open_file(temporary)
        checkpoint = _runner(Deployed(predictor))
        said.append(_agreement(checkpoint, exported, predictor, real))
        ours, theirs = (_speed(run, predictor, options.batch_size) for run in (checkpoint, exported))
        said.append(
            f"speed on the CPU, batches of {options.batch_size}: checkpoint {ours:.1f} ms a picture, "
            f"{path.name} {theirs:.1f} ms"
        )

    write_whole(path, write)
    sys.stdout.write("\n".join([f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB", *said, ""]))
    return 0


def compare(expected: "Arrays", got: "Arrays", thresholds: "Sequence[float]") -> tuple[float, float]:
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
    import numpy as np

    for name, one, other in zip(("probabilities", "decisions", "attention"), expected, got, strict=True):
        if one.shape != other.shape:
            raise DisagreementError(
                f"the exported model gives {name} of shape {other.shape}, the checkpoint {one.shape}"
            )
    differences = []
    for at, name in ((0, "probabilities"), (2, "attention")):
        difference = float(np.abs(expected[at].astype(np.float64) - got[at]).max())
        if not difference <= TOLERANCE:  # NaN too
            raise DisagreementError(
                f"the exported model's {name} differ from the checkpoint's by {difference:.2g}, more than "
                f"{TOLERANCE:g}; no file was left"
            )
        differences.append(difference)
    clear = np.abs(expected[0] - np.asarray(thresholds)) > TOLERANCE
    if (expected[1] != got[1])[clear].any():
        raise DisagreementError("the exported model decides otherwise than the checkpoint; no file was left")
    return differences[0], differences[1]


def _agreement(checkpoint: "Runner", runner: "Runner", predictor: "Predictor", real: "Sequence[np.ndarray]") -> str:
    random = list(_random_batches(predictor.spec.image_size))
    worst = [0.0, 0.0]
    for batch in (*random, *real):
        found = compare(checkpoint(batch), runner(batch), predictor.spec.thresholds)
        worst = [max(pair) for pair in zip(worst, found, strict=True)]
    counts = [f"{sum(map(len, random))} random"] + ([f"{sum(map(len, real))} given"] if real else [])
    return f"agrees on {' and '.join(counts)} pictures: probabilities within {worst[0]:.1g}, attention {worst[1]:.1g}"


def _random_batches(side: int) -> "Iterator[np.ndarray]":
    """Batches of 1, 2 and 5: noise of pixels, and of coarse patches, which reach further into a network."""
    import numpy as np

    generator = np.random.default_rng(0)
    for count in (1, 2, 5):
        for patch in (1, max(1, side // 8)):
            coarse = generator.integers(0, 256, (count, 3, -(-side // patch), -(-side // patch)), dtype=np.uint8)
            yield np.ascontiguousarray(coarse.repeat(patch, 2).repeat(patch, 3)[..., :side, :side])


def _speed(run: "Runner", predictor: "Predictor", batch_size: int) -> float:
    """Milliseconds a picture, the median of some batches."""
    import numpy as np

    side = predictor.spec.image_size
    batch = np.random.default_rng(1).integers(0, 256, (batch_size, 3, side, side), dtype=np.uint8)
    times = []
    for _ in range(_REPEATS + 1):  # the first warms up
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[1:]) / batch_size


def _runner(module: "Callable[[Tensor], Sequence[Tensor]]") -> "Runner":
    import torch

    def run(images: "np.ndarray") -> "Arrays":
        with torch.inference_mode():
            return [output.numpy() for output in module(torch.from_numpy(images))]

    return run


def _write_program(program: "ExportedProgram", spec: "ModelSpec", path: Path) -> None:
    import torch

    from ibca_lightning.use.deployable import metadata

    torch.export.save(program, path, extra_files=metadata(spec))


def _open_program(path: Path) -> "Runner":
    import torch

    return _runner(torch.export.load(path).module())


def _write_onnx(program: "ExportedProgram", spec: "ModelSpec", path: Path) -> None:
    import torch

    from ibca_lightning.use.deployable import INPUT, OUTPUTS, metadata

    weights = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if weights > _LARGEST:
        raise InputError("weights below 2 GB, which one ONNX file can hold", f"{weights / 1e9:.1f} GB", "write a .pt2")
    onnx = torch.onnx.export(
        program, dynamo=True, input_names=[INPUT], output_names=list(OUTPUTS), verbose=False
    )  # fmt: skip
    assert onnx is not None
    onnx.model.metadata_props.update(metadata(spec))
    onnx.save(str(path), external_data=False)


def _open_onnx(path: Path) -> "Runner":
    import onnxruntime
    import torch

    choices = onnxruntime.SessionOptions()
    choices.intra_op_num_threads = torch.get_num_threads()  # the speeds are compared
    session = onnxruntime.InferenceSession(str(path), choices, providers=["CPUExecutionProvider"])

    def run(images: "np.ndarray") -> "Arrays":
        answer: Any = session.run(None, {"images": images})
        return list(answer)

    return run


def _require_packages(*names: str) -> None:
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            raise InputError(
                f"the package {name}, which .onnx needs", f"none ({error})",
                "pip install 'ibca-lightning[export]', or write a .pt2",
            ) from error  # fmt: skip


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser(
        "ibca export",
        "options of `ibca export`",
        "The model as one file: takes uint8 pictures (B, 3, S, S), gives probabilities, decisions and attention; "
        "normalisation, calibration and thresholds are inside. It is compared with the checkpoint before it is kept.",
    )
    parser.add_argument("--ckpt_path", required=True, help=CHECKPOINT)
    parser.add_argument("--output", required=True, help="model.onnx, or model.pt2 for a torch.export program.")
    add_images(parser, required=False, more=f" To compare on beside random ones; the first {_MOST}.")
    parser.add_argument("--batch_size", type=int, default=8, help="For the speeds (default 8).")
    parser.add_argument("--overwrite", action="store_true", help="Replace an --output that is there.")
    options = parser.parse_args(arguments)
    path = Path(options.output)
    if path.suffix not in (".onnx", ".pt2"):
        raise InputError("--output that ends in .onnx or .pt2", path.name, "give another name")
    if path.is_dir() or (path.exists() and not options.overwrite):
        raise InputError(f"nothing yet at --output {path}", "a file or folder", "give another one, or --overwrite")
    if options.batch_size < 1:
        raise InputError("--batch_size of at least 1", options.batch_size, "give another value")
    return options
