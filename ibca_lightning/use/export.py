"""`ibca export`: a checkpoint as one file that runs without this package, checked against the checkpoint first."""

import warnings
from argparse import Namespace
from importlib import import_module
from pathlib import Path

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser, require_least
from ibca_lightning.system.output import write_out
from ibca_lightning.system.whole_files import write_whole
from ibca_lightning.use.model_options import CHECKPOINT, add_images, add_trust, listed, opened, say_passed_over

_MOST = 256  # of the given pictures: agreement is no matter of thousands


def export(arguments: list[str]) -> int:
    """Write the file, if it agrees with the checkpoint."""
    options = _parse(arguments)
    path = Path(options.output)
    if path.suffix == ".onnx":
        _require_packages("onnxruntime", "onnxscript")
    pictures = listed(options) if options.images else None
    files = list(pictures.files.values())[:_MOST] if pictures else []
    # Behind the options: wrong ones, and --help, are answered without seconds of imports.
    from ibca_lightning.use import exported
    from ibca_lightning.use.deployable import Deployed, program_of

    predictor = opened(options.ckpt_path, "cpu", options.trust)
    real = [predictor.see(file).image[None].numpy() for file in files]
    said: list[str] = []

    def write(temporary: Path) -> None:
        write_file, open_file = exported.KINDS[path.suffix]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's exporter, about its own insides
            write_file(program_of(predictor), predictor.spec, temporary)
            runner = open_file(temporary)
        checkpoint, spec = exported.runner(Deployed(predictor)), predictor.spec
        size = spec.in_channels, spec.image_size
        said.append(exported.agreement(checkpoint, runner, size, spec.thresholds, real))
        ours, theirs = (exported.speed(run, size, options.batch_size) for run in (checkpoint, runner))
        said.append(
            f"speed on the CPU, batches of {options.batch_size}: checkpoint {ours:.1f} ms a picture, "
            f"{path.name} {theirs:.1f} ms"
        )

    write_whole(path, write)
    write_out("\n".join([f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB", *said, ""]))
    if pictures:
        say_passed_over(pictures)
    return 0


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
    add_trust(parser)
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
    require_least(options, batch_size=1)
    return options
