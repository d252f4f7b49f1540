"""What a checkpoint says of its model, in plain data: written by the module, read by predict, test and `init_from`."""

import importlib
import inspect
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ibca_lightning import __version__
from ibca_lightning.errors import InputError
from ibca_lightning.heads import Head

CHECKPOINT_KEY = "ibca"
FORMAT = 1
_PLAIN = (str, int, float, bool, type(None))
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a model again and to use it.

    Attributes:
        backbone: timm name.
        feature_stride: As the module was given it.
        image_size: Side of the square input in pixels.
        mean: Per channel, in [0, 1], of the backbone's own normalisation.
        std: Likewise.
        head: `{"class_path": ..., "init_args": {...}}`.
        class_names: In the order of the logits.
        thresholds: One a class; a class is predicted where its probability is above it.
        preprocessing: How pictures are brought to `image_size`.
        version: Of the package that wrote it.
        format: Of this record.
    """

    backbone: str
    feature_stride: int | list[int]
    image_size: int
    mean: list[float]
    std: list[float]
    head: dict[str, Any]
    class_names: list[str]
    thresholds: list[float]
    preprocessing: dict[str, str] = field(default_factory=dict)
    version: str = __version__
    format: int = FORMAT

    def as_dict(self) -> dict[str, Any]:
        """The plain data that goes into the checkpoint."""
        return asdict(self)

    @classmethod
    def from_checkpoint(cls, checkpoint: dict[str, Any], path: str | Path = "checkpoint") -> "ModelSpec":
        """Read the record.

        Raises:
            InputError: When the checkpoint has none, or one of another format.
        """
        record = checkpoint.get(CHECKPOINT_KEY) if isinstance(checkpoint, dict) else None
        if not isinstance(record, dict):
            raise InputError(
                f"{path} to be a checkpoint written by `ibca fit`", "none", "give RUN/checkpoints/best.ckpt"
            )
        if record.get("format") != FORMAT:
            raise InputError(
                f"{path} in checkpoint format {FORMAT}",
                f"format {record.get('format')} (ibca {record.get('version')})",
                "use the version of ibca that wrote it",
            )
        try:
            return cls(**record)
        except TypeError as error:
            raise InputError(f"{path} with a complete model record", error, "use the file as it was written") from error


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint without running any code that it may hold.

    Args:
        path: A `.ckpt` file written by `ibca fit`.

    Returns:
        The checkpoint, tensors on the CPU.

    Raises:
        InputError: When the file is missing, unreadable, or no IBCA checkpoint.
    """
    if not Path(path).is_file():
        raise InputError(f"a checkpoint file at {path}", "none", "give RUN/checkpoints/best.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for junk, all of which mean the same to the user
        raise InputError(
            f"{path} to be a checkpoint of tensors and plain data", f"an unreadable file ({type(error).__name__})",
            "give RUN/checkpoints/best.ckpt as `ibca fit` wrote it",
        ) from error  # fmt: skip
    ModelSpec.from_checkpoint(checkpoint, path)
    assert isinstance(checkpoint, dict)
    return checkpoint


def head_spec(head: Head) -> dict[str, Any]:
    """The class path and the options that build this head again.

    Raises:
        InputError: When an option is not plain data, so that the checkpoint could not be loaded safely.
    """
    cls = type(head)
    _require_plain(head.options, f"{cls.__name__} option")
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": head.options}


def build_head(spec: dict[str, Any], channels: int, num_labels: int) -> Head:
    """Build the head that a record describes.

    Only a subclass of `Head` is called, so that a tampered record can name no other code to run.

    Raises:
        InputError: When the class cannot be found or is no head, or does not take the options.
    """
    class_path = str(spec.get("class_path"))
    module_name, _, name = class_path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"the head {class_path} of the checkpoint", f"no such class ({error})",
            "put the file that defines it on PYTHONPATH, or in the folder you start ibca from",
        ) from error  # fmt: skip
    if not (inspect.isclass(cls) and issubclass(cls, Head)):
        raise InputError(f"{class_path} to be a subclass of ibca_lightning.heads.Head", cls, "check the checkpoint")
    try:
        return cls(channels, num_labels, **spec.get("init_args", {}))
    except TypeError as error:
        raise InputError(
            f"{class_path} to take the options of the checkpoint", error, "use the version that wrote it"
        ) from error


def require_same_model(saved: ModelSpec, current: ModelSpec) -> None:
    """Refuse to load one model's weights into another.

    Raises:
        InputError: Names the first setting that differs.
    """
    for name in ("class_names", "backbone", "feature_stride", "head"):
        theirs, ours = getattr(saved, name), getattr(current, name)
        if theirs != ours:
            raise InputError(
                f"the checkpoint's {name} {theirs}", f"{ours} from the configuration",
                "use the config.yaml of the checkpoint's run, or --model.init_from to start from its weights",
            )  # fmt: skip


def initialise_from(module: nn.Module, checkpoint: dict[str, Any], path: str) -> None:
    """Start `module` from another checkpoint whose labels may differ.

    Backbone and label-free parameters are copied. Parameters with a label axis take the rows of classes that both
    have, by name; the others keep their fresh values. The label axis of a parameter is the one that grows when the
    head is built with one label more, so it is found for any head.

    Args:
        module: A `MultiLabelModule`.
        checkpoint: From `read_checkpoint`.
        path: For messages.

    Raises:
        InputError: When backbone, stride or head differ.
    """
    source, target = ModelSpec.from_checkpoint(checkpoint, path), module.spec
    assert isinstance(target, ModelSpec)
    for name in ("backbone", "feature_stride", "head"):
        if getattr(source, name) != getattr(target, name):
            raise InputError(
                f"--model.init_from {path} with {name} {getattr(target, name)}", getattr(source, name),
                "use the same backbone, stride and head options as that checkpoint",
            )  # fmt: skip
    state, own = checkpoint["state_dict"], module.state_dict()
    shared = [name for name in target.class_names if name in source.class_names]
    rows = ([target.class_names.index(n) for n in shared], [source.class_names.index(n) for n in shared])
    axes = _label_axes(target.head, module.backbone.channels, len(target.class_names))  # type: ignore[arg-type,union-attr]
    for name, tensor in own.items():
        if name not in state:
            continue
        axis = axes.get(name.removeprefix("head."))
        if axis is None:
            tensor.copy_(state[name])
        else:
            _copy_rows(tensor, state[name], axis, *rows)
    module.load_state_dict(own)
    log.info("started from %s: %d of %d classes taken over (%s)", path, len(shared), len(own), ", ".join(shared))


def _label_axes(spec: dict[str, Any], channels: int, num_labels: int) -> dict[str, int | None]:
    with torch.device("meta"):
        one, other = (build_head(spec, channels, n).state_dict() for n in (num_labels, num_labels + 1))
    return {
        name: next((i for i, (a, b) in enumerate(zip(tensor.shape, other[name].shape, strict=True)) if a != b), None)
        for name, tensor in one.items()
    }


def _copy_rows(target: Tensor, source: Tensor, axis: int, to_rows: list[int], from_rows: list[int]) -> None:
    if to_rows:
        index = torch.tensor(to_rows)
        target.index_copy_(axis, index, source.index_select(axis, torch.tensor(from_rows)))


def _require_plain(value: object, what: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _require_plain(item, f"{what} {key}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _require_plain(item, what)
    elif not isinstance(value, _PLAIN):
        raise InputError(f"{what} as plain data (numbers, strings, lists)", type(value).__name__, "give a plain value")
