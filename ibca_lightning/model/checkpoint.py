"""What a checkpoint says of its model, in plain data: written by the module, read by predict, test and `init_from`."""

import importlib
import inspect
import reprlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

from torch import Tensor, nn

from ibca_lightning import __version__
from ibca_lightning.data.storage import here, is_remote
from ibca_lightning.heads import Head
from ibca_lightning.metrics.calibration import require_calibration
from ibca_lightning.metrics.decision import OperatingPoints, is_rule
from ibca_lightning.model.fine_tuning.lora import merged
from ibca_lightning.model.public_names import public_name, with_public_names
from ibca_lightning.model.weights.finite import spoilt, wrong_kind
from ibca_lightning.model.weights.shapes_only import shapes_only
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.expanded import expanded
from ibca_lightning.system.imports.own_modules import name_own
from ibca_lightning.system.model_files.model_record import FORMAT, load_plain, model_record, unreadable

_MOST_CHANNELS = 512  # of pictures
_LARGEST_SIDE = 2**13  # pixels; a size beyond is damage
_LARGEST_OPTION, _DEEPEST_OPTION = 2**14, 8  # of heads: layers are built one by one
_LEAST_STD = 1e-3  # of a channel; 1/255 where pictures are not scaled to [0, 1]
# What two models must have alike for the weights of one to fit the other.
MUST_BE_ALIKE = ("backbone", "in_channels", "feature_stride", "feature_blocks", "normalise_features", "head")
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class ModelSpec:
    """All that is needed to build a model again and to use it."""

    backbone: str  # timm name
    feature_stride: int | list[int]
    image_size: int  # side of the square input in pixels
    mean: list[float]  # per channel, in [0, 1], of the backbone's own normalisation
    std: list[float]
    head: dict[str, Any]  # {"class_path": ..., "init_args": {...}}
    class_names: list[str]  # in the order of the logits
    thresholds: list[float]  # one a class, which is predicted where its calibrated probability is above it
    preprocessing: dict[str, str] = field(default_factory=dict)  # how pictures are brought to `image_size`
    normalise_features: bool = False  # whether the channels of the feature map are normalised before the head
    calibration: dict[str, Any] | None = None  # for `metrics.calibration.calibrated`; None is the sigmoid
    threshold_rule: str | dict[str, float] = "fixed"  # as the module was told: `f1`, `fixed`, {"sensitivity": 0.9}
    # Positives of each class in the validation data that the thresholds rest on; empty where the checkpoint is older
    # than this record, or no thresholds were chosen.
    threshold_positives: list[int] = field(default_factory=list)
    feature_blocks: int = 0  # of a ViT, whose class tokens are then part of the map
    version: str = __version__  # of the package that wrote it
    format: int = FORMAT  # of this record

    @property
    def in_channels(self) -> int:
        """Channels of the pictures."""
        return len(self.mean)

    @property
    def points(self) -> OperatingPoints:
        """Where logits become decisions."""
        return OperatingPoints(list(self.thresholds), self.calibration, list(self.threshold_positives))

    as_dict = asdict  # the plain data that goes into the checkpoint

    def module_options(self) -> dict[str, Any]:
        """The options of a `MultiLabelModule` that build this model again, without fetching weights."""
        require_named_backbone(self)
        same = (
            "class_names", "backbone", "feature_stride", "feature_blocks", "normalise_features", "image_size",
            "preprocessing",
        )  # fmt: skip
        return {name: getattr(self, name) for name in same} | {
            "num_labels": len(self.class_names),
            "pretrained": False,
            "head": partial(build_head, self.head),
            "thresholds": self.threshold_rule,
            "calibration": (self.calibration or {}).get("kind", "none"),
        }

    @classmethod
    def from_checkpoint(cls, checkpoint: dict[str, Any], path: str | Path = "checkpoint") -> "ModelSpec":
        """Read the record.

        Raises:
            InputError: When the checkpoint has none, or one of another format.
        """
        record, known = model_record(checkpoint, path), {each.name: each for each in fields(cls)}
        wrong = [f"an unknown {reprlib.repr(name)}" for name in record if name not in known]
        needed = (each for each in known.values() if each.default is MISSING and each.default_factory is MISSING)
        if wrong := [*wrong, *(f"no {each.name}" for each in needed if each.name not in record)]:
            raise InputError(f"{path} with a complete model record", wrong[0], "use the file as it was written")
        spec = cls(**record)
        spec._require_sound(path)
        require_calibration(spec.calibration, len(spec.class_names), path)
        return replace(spec, head=with_public_names(spec.head))  # its module may have moved since

    def _require_sound(self, path: str | Path) -> None:
        """Refuse a record that somebody or something changed, where it would end in a traceback or a wrong figure."""
        strides = self.feature_stride if isinstance(self.feature_stride, list) else [self.feature_stride]
        names = self.class_names
        means, stds = (each if isinstance(each, list) else [] for each in (self.mean, self.std))
        sound = {
            "backbone": isinstance(self.backbone, str),
            "feature_stride": _all(strides, int),
            "feature_blocks": type(self.feature_blocks) is int and 0 <= self.feature_blocks <= _LARGEST_SIDE,
            "image_size": type(self.image_size) is int and 0 < self.image_size <= _LARGEST_SIDE,
            "mean": _all_within(self.mean, 0, 1) and 0 < len(means) <= _MOST_CHANNELS and len(stds) in (0, len(means)),
            "std": _all_within(self.std, _LEAST_STD, 1) and len(stds) == len(means),
            "head": isinstance(self.head, dict)
            and isinstance(self.head.get("class_path"), str)
            and isinstance(self.head.get("init_args", {}), dict)
            and _sound_options(self.head, own=not self.head["class_path"].startswith("ibca_lightning.")),
            "class_names": _all(names, str) and len(names) > 0,
            "thresholds": _all_within(self.thresholds, 0, 1) and len(self.thresholds) == len(names),
            "threshold_rule": is_rule(self.threshold_rule),
            "preprocessing": isinstance(self.preprocessing, dict) and _all([*self.preprocessing.values()], str),
            "threshold_positives": _all_within(self.threshold_positives, 0, 2**63)
            and _all(self.threshold_positives, int)
            and len(self.threshold_positives) in (0, len(names)),
        }
        for name, holds in sound.items():
            if not holds:
                raise InputError(
                    f"{path} with a sound {name} in its model record", reprlib.repr(getattr(self, name)),
                    "use the file as it was written",
                )  # fmt: skip


def _sound_options(options: object, own: bool) -> bool:
    todo: list[tuple[Any, int]] = [(options, 0)]
    for seen in range(_LARGEST_OPTION):
        if not todo:
            return True
        value, depth = todo.pop()
        if isinstance(value, (dict, list, tuple)):
            if depth > _DEEPEST_OPTION or len(value) > _LARGEST_OPTION - seen:
                return False
            todo += [(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
        elif not own and isinstance(value, int) and abs(value) > _LARGEST_OPTION:
            return False
    return False


def _all_within(values: object, low: float, high: float) -> bool:
    return isinstance(values, list) and all(type(v) in (int, float) and low <= v <= high for v in values)


def _all(values: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint, tensors on the CPU, without running any code that it may hold; LoRA's weights merged.

    Raises:
        InputError: When the file is missing, unreadable, or no IBCA checkpoint.
    """
    file = here(expanded(str(path)))
    checkpoint = load_plain(path := file if is_remote(file) else Path(file))
    try:
        with zipfile.ZipFile(path) as archive:  # torch takes flipped bits for weights, and chance memory for a folder
            folders = (own.filename for own in archive.infolist() if own.external_attr & 16)
            damaged = archive.testzip() or next(folders, None)
        if damaged is not None:
            raise zipfile.BadZipFile(damaged)
    except Exception as error:
        raise unreadable(path) from error
    spec = ModelSpec.from_checkpoint(checkpoint, path)
    assert isinstance(checkpoint, dict)
    weights = checkpoint.get("state_dict")
    if not isinstance(weights, dict) or not _all([*weights], str) or not _all([*weights.values()], Tensor):
        raise InputError(f"{path} with the weights of a model", "none", "use the file as it was written")
    if sum(weight.nbytes for weight in weights.values()) > 2 * Path(path).stat().st_size:  # one number, shown as many
        raise InputError(f"{path} with weights of its size", "more", "use the file as it was written")
    # A head of somebody else's may hold what it likes, such as complex numbers; `require_kinds` asks it.
    theirs = () if str(spec.head["class_path"]).startswith("ibca_lightning.") else ("head.",)
    found = (spoilt(name, own, own if name.startswith(theirs) else None) for name, own in weights.items())
    if wrong := next(filter(None, found), None):
        fix = "use a checkpoint from before the training diverged, or the file as it was written"
        raise InputError(f"{path} with finite weights", wrong, fix)
    checkpoint["state_dict"] = merged(weights)
    return checkpoint


def head_spec(head: Head) -> dict[str, Any]:
    """The class path and the options that build this head again, `{"class_path": str, "init_args": dict}`.

    A head among the options, as `PairHead` has one, is described alike.

    Raises:
        InputError: When an option is not plain data, so that the checkpoint could not be loaded safely.
    """
    cls = type(head)
    _require_plain(head.options, f"{cls.__name__} option")
    record = {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": head.options}
    return {key: with_public_names(value) for key, value in record.items()}


def build_head(spec: dict[str, Any], channels: int, num_labels: int) -> Head:
    """Build the head that a record of `head_spec` describes, with fresh weights.

    Nothing is imported for it: a head is one of this package, or of a module that is loaded because the user named it.

    Raises:
        InputError: When there is no such head, or it does not take the options.
    """
    class_path, cls = str(spec.get("class_path")), require_known_head(spec)
    given = spec.get("init_args", {}).items()
    hints = get_type_hints(cls.__init__) if class_path.startswith("ibca_lightning.") else {}
    for name, value in given:
        if isinstance(value, str) and name in hints and value not in get_args(hints[name]):  # it would be a file's name
            raise InputError(
                f"{name} of {class_path} in the checkpoint as one of its choices, or none", reprlib.repr(value),
                "use the file as it was written",
            )  # fmt: skip
    options = {name: partial(build_head, value) if _is_head(value) else value for name, value in given}
    try:
        return cls(channels, num_labels, **options)
    except InputError:
        raise
    except Exception as error:  # of torch, for sizes that do not go together
        wanted = inspect.signature(cls).parameters
        got = ", ".join(name for name in options if name not in wanted) or reprlib.repr(options)
        expected, fix = f"options of the checkpoint that {class_path} takes", "use the version that wrote it"
        raise InputError(expected, got, fix) from error


def require_known_head(spec: dict[str, Any]) -> type[Head]:
    """Return the class of a record of `head_spec`.

    Raises:
        InputError: It is neither of this package nor of a module that is loaded.
    """
    class_path = str(spec.get("class_path"))
    known = {public_name(f"{cls.__module__}.{cls.__qualname__}"): cls for cls in _subclasses(Head)}
    if class_path not in known:
        module = class_path.rpartition(".")[0] or class_path
        raise InputError(
            f"a head of ibca_lightning, or of a module that you trust, for {class_path} of the checkpoint",
            "none", f"if you know that file, give --trust {module}, in Python load(..., trust=['{module}'])",
        )  # fmt: skip
    return known[class_path]


def _is_head(option: object) -> bool:
    return isinstance(option, dict) and "class_path" in option and isinstance(option.get("init_args", {}), dict)


def _all_own(spec: dict[str, Any]) -> bool:
    """Whether a head, and those among its options, are of this package."""
    inner = (option for option in spec.get("init_args", {}).values() if _is_head(option))
    return str(spec["class_path"]).startswith("ibca_lightning.") and all(map(_all_own, inner))


def _subclasses(cls: type[Head]) -> Iterator[type[Head]]:
    for own in cls.__subclasses__():
        yield own
        yield from _subclasses(own)


def import_trusted(modules: Iterable[str]) -> None:
    """Import the modules whose heads `build_head` may then build.

    Raises:
        InputError: When there is no such module.
    """
    for module in modules:
        name_own(module)
        try:
            importlib.import_module(module)
        except (ImportError, ValueError, TypeError) as error:
            raise InputError(
                f"a module to import for --trust {module}", error,
                "put the file that defines the head on PYTHONPATH, or in the folder you start ibca from",
            ) from error  # fmt: skip


def fitting_head(spec: ModelSpec, checkpoint: dict[str, Any], path: str | Path, channels: int, num_labels: int) -> Head:
    """Build the head of a checkpoint; the package's own only if the weights fit, seen before memory is taken for it."""
    if _all_own(spec.head):
        with shapes_only():
            require_fitting_weights(checkpoint, build_head(spec.head, channels, num_labels), f"{path}", "head.")
    return build_head(spec.head, channels, num_labels)


def require_named_backbone(spec: ModelSpec) -> None:
    """Refuse to build a backbone whose name leads to the network or into a folder: `hf-hub:`, `local-dir:`."""
    if ":" in spec.backbone:
        raise InputError(
            "the name of a model of timm as backbone in the checkpoint's record", repr(spec.backbone),
            "train with timm's own name, and --model.checkpoint_path for the weights",
        )  # fmt: skip


def require_same_model(saved: ModelSpec, current: ModelSpec) -> None:
    """Refuse to load one model's weights into another."""
    for name in ("class_names", *MUST_BE_ALIKE):
        theirs, ours = getattr(saved, name), getattr(current, name)
        if theirs != ours:
            fix = "use the config.yaml of the checkpoint's run, or --model.init_from to start from its weights"
            if name == "class_names":
                fix += "; or, to test it on these data, --data.label_space CKPT"
            if name == "head":
                theirs, ours = _differing(theirs, ours)
            raise InputError(f"the checkpoint's {name} {theirs}", f"{ours} from the configuration", fix)


def _differing(theirs: dict[str, Any], ours: dict[str, Any]) -> tuple[str, str]:
    """Two heads by class where that differs, by the options that differ where not: a line holds no more."""
    if theirs["class_path"] != ours["class_path"]:
        return theirs["class_path"], ours["class_path"]
    names = [
        n
        for n in {**theirs["init_args"], **ours["init_args"]}
        if theirs["init_args"].get(n) != ours["init_args"].get(n)
    ]
    first, second = (", ".join(f"{n}: {head['init_args'].get(n, 'unset')}" for n in names) for head in (theirs, ours))
    return first, second


def require_fitting_weights(
    checkpoint: dict[str, Any], module: nn.Module, path: str = "the checkpoint", part: str = ""
) -> None:
    """Refuse weights that do not fit before torch does it in many lines; `part`: what `module` is, such as `head.`."""
    state = {name: value for name, value in checkpoint.get("state_dict", {}).items() if name.startswith(part)}
    own = {part + name: value for name, value in module.state_dict().items()}
    for name in (*own, *(name for name in state if name not in own)):
        theirs, ours = (tuple(d[name].shape) if name in d else "none" for d in (state, own))
        if theirs != ours:
            fix = "use the file as it was written" if part else "use the config.yaml of its run, image_size included"
            raise InputError(f"{path} with a weight {name} of shape {ours}", theirs, fix)
    require_kinds(state, own, path)


def require_kinds(state: Mapping[str, Tensor], own: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights of another type, such as complex ones, which torch would copy with a warning or none."""
    wrong = (wrong_kind(name, state[name], value) for name, value in own.items() if name in state)
    if said := next(filter(None, wrong), None):
        raise InputError(f"{path} with weights of the model's types", said, "use the file as it was written")


def _require_plain(value: object, what: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _require_plain(key, f"{what} key")
            _require_plain(item, f"{what} {key}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _require_plain(item, what)
    elif type(value) not in _PLAIN:  # exactly: a numpy float is a float, but needs numpy's code to be loaded
        raise InputError(
            f"{what} as plain data (numbers, strings, lists), which a checkpoint can hold", type(value).__name__,
            "give a plain value, and build the object from it in the head",
        )  # fmt: skip
