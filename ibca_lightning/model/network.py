"""The network: normalisation, backbone and head as a plain nn.Module, from uint8 pictures to logits and attention."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.data.storage import here
from ibca_lightning.heads import Head, HeadOutput
from ibca_lightning.heads.base import require_output
from ibca_lightning.heads.layers import MapBatchNorm
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.model.checkpoint import (
    ModelSpec,
    fitting_head,
    read_checkpoint,
    require_fitting_weights,
    require_kinds,
    require_named_backbone,
)
from ibca_lightning.model.compilation import Compiled, require_backend
from ibca_lightning.model.weights.shapes_only import shapes_only
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.expanded import expanded
from ibca_lightning.terms import Teacher


class Network(nn.Module):
    """What predicts. `MultiLabelModule` is a network that can also be trained; a checkpoint's weights fit both.

    Pictures arrive as uint8 and are normalised here, on the device. Weights are called `backbone.*`, `feature_norm.*`
    and `head.*`, in every checkpoint.

    Args:
        num_labels: L.
        backbone: With its own mean and std, which pictures are normalised with.
        head: Called with (channels, num_labels).
        normalise_features: Whether the channels of the feature map are normalised before the head.
        channels_last: Keep the backbone's weights and maps in NHWC order.
    """

    backbone: Backbone
    feature_norm: nn.Module
    head: Head
    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        num_labels: int,
        backbone: Backbone,
        head: Callable[[int, int], Head],
        normalise_features: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone = backbone.to(memory_format=self._memory_format)
        self.feature_norm = MapBatchNorm(backbone.channels, affine=False) if normalise_features else nn.Identity()
        self.head = head(backbone.channels, num_labels)
        if getattr(self.head, "class_token", False) and not backbone.class_tokens:
            fix = "give model.feature_blocks and a ViT that has one, or leave model.head.class_token false"
            raise InputError("a backbone that gives its class token for model.head.class_token", "none", fix)
        for name in ("_mean", "_std"):
            self.register_buffer(name, torch.empty(1, len(backbone.mean), 1, 1), persistent=False)
        self.set_normalisation(backbone.mean, backbone.std)
        self._compiled_stages: Callable[[Tensor], list[Tensor]] | None = None

    def take_weights(self, checkpoint: dict[str, Any], path: str | Path = "checkpoint") -> None:
        """Load the weights of a checkpoint, without those of its loss, and its normalisation of pictures."""
        spec = ModelSpec.from_checkpoint(checkpoint, path)
        weights = {name: value for name, value in checkpoint["state_dict"].items() if not name.startswith("loss.")}
        own = self.state_dict()
        weights |= {name: value for name, value in own.items() if name.startswith("loss.")}
        require_kinds(weights, own, path)
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(
                f"{path} to hold the weights of the model it describes", str(error).splitlines()[-1].strip(),
                "use the checkpoint as it was written, with the version of timm it was trained with",
            ) from error  # fmt: skip
        self.set_normalisation(spec.mean, spec.std)

    def compile_parts(self, parts: Compiled, backend: str) -> None:
        """`torch.compile` the head, or backbone and head, each by itself; the weights keep their names."""
        if parts in (False, "none"):
            return
        require_backend(backend)
        # A CUDA graph has its shapes: an epoch's last, smaller batch wants one of its own. None: as torch chooses.
        dynamic = False if backend == "cudagraphs" else None
        self.head.compile(backend=backend, dynamic=dynamic)
        if parts in (True, "all"):
            self._compiled_stages = torch.compile(self.backbone.stages, backend=backend, dynamic=dynamic)

    def __getstate__(self) -> dict[str, Any]:
        """A copy is not compiled, as torch has it for every module: it would run the original's layers."""
        state: Any = super().__getstate__()  # type: ignore[no-untyped-call]
        return {**state, "_compiled_stages": None}

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise with these means and standard deviations per channel, on a scale of [0, 1]."""
        self.backbone.mean, self.backbone.std = tuple(mean), tuple(std)  # what `ibca maps` and a checkpoint record
        self._mean.copy_(torch.tensor(mean).view(1, -1, 1, 1) * 255)
        self._std.copy_(torch.tensor(std).view(1, -1, 1, 1) * 255)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> HeadOutput:
        """Classify pictures.

        Args:
            images: (B, C, S, S) uint8, 0-255, or float on the same scale.
            labels: (B, L) in {0, 1, -1}; in training only, for the head's own losses.

        Returns:
            Logits (B, L), attention (B, L, H, W) and the head's weighted losses.
        """
        return self.classify(self.stages(images), labels)

    def stages(self, images: Tensor) -> list[Tensor]:
        """Return the backbone's maps of pictures, each at its own resolution: what `ibca maps` stores.

        Args:
            images: (B, C, S, S) uint8, 0-255, or float on the same scale.

        Returns:
            One (B, C_i, H_i, W_i) for each stride, finest first.

        Raises:
            InputError: When a batch is too small for the backbone's BatchNorm in training.
        """
        normalised = ((images - self._mean) / self._std).contiguous(memory_format=self._memory_format)
        try:
            return (self._compiled_stages or self.backbone.stages)(normalised)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                "more than one value a channel for the batch statistics (BatchNorm) of the backbone",
                f"a batch of {len(images)} with a map of one cell",
                "raise data.batch_size or data.image_size, or give model.freeze_backbone true",
            ) from error

    def classify(self, stages: Sequence[Tensor], labels: Tensor | None = None) -> HeadOutput:
        """As `forward`, for maps as `stages` returns them."""
        return require_output(self.head, self.head(self.features(stages), labels))

    def features(self, stages: Sequence[Tensor]) -> Tensor:
        """Make the one map (B, C, H, W) that the head reads of maps as `stages` returns them."""
        features: Tensor = self.feature_norm(self.backbone.combine(stages))
        return features

    def stored(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Return maps from a file, where they are float16, as the type that the backbone would give here."""
        device = self._mean.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self._mean.dtype
        return [stage.to(dtype) for stage in stages]


class NetworkTeacher(Teacher):
    """The network of a checkpoint as the teacher of another.

    Args:
        path: Of the checkpoint.

    Raises:
        InputError: When it is missing or no IBCA checkpoint.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        checkpoint = read_checkpoint(path)
        self.spec = ModelSpec.from_checkpoint(checkpoint, path)
        self.network = load_network(checkpoint, path)
        self.class_names = self.spec.class_names
        with Path(here(expanded(str(path)))).open("rb") as file:
            self.digest = hashlib.file_digest(file, "sha256").hexdigest()

    def forward(self, batch: Mapping[str, Any]) -> HeadOutput:
        """Classify a batch, of pictures of any size or of stored maps."""
        if "features" in batch:
            return self.network.classify(self.network.stored(batch["features"]))
        images, side = batch["image"], self.spec.image_size
        if images.shape[-1] != side:
            images = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)
        output: HeadOutput = self.network(images)
        return output


def recorded_backbone(spec: ModelSpec, checkpoint: dict[str, Any], path: str | Path) -> Backbone:
    """Build the backbone of a checkpoint, with fresh weights.

    Raises:
        InputError: When the weights are not of such a one, which is seen before much memory is taken for it.
    """
    require_named_backbone(spec)
    if not _as_small_as_its_weights(spec, checkpoint):
        require_fitting_backbone(spec, checkpoint, path)
    backbone = _backbone(spec)
    require_fitting_weights(checkpoint, backbone, f"{path}", "backbone.")
    return backbone


def _as_small_as_its_weights(spec: ModelSpec, checkpoint: dict[str, Any]) -> bool:
    """Whether the model of timm has the weights that are stored, and at most three times as many others.

    Some stages may be cut off. Which, is seen when it is run, and to run it without memory torch imports its compiler:
    half a start.
    """
    stored = {name: value.shape for name, value in checkpoint["state_dict"].items() if name.startswith("backbone.")}
    more: dict[str, Any] = {} if spec.in_channels == 3 else {"in_chans": spec.in_channels}
    sizes: list[dict[str, Any]] = [{}, {"img_size": spec.image_size}]
    for size in sizes:  # convolutions, and then what has positions
        try:
            with shapes_only():
                model = timm.create_model(spec.backbone, num_classes=0, **size, **more)
        except (AssertionError, TypeError, OSError, RuntimeError, ValueError):  # as families refuse it
            continue
        own = {f"backbone.model.{name}": value.shape for name, value in model.state_dict().items()}
        if all(own.get(name) == shape for name, shape in stored.items()):
            return sum(map(math.prod, own.values())) <= 4 * sum(map(math.prod, stored.values()))
    return False


def require_fitting_backbone(spec: ModelSpec, checkpoint: dict[str, Any], path: str | Path) -> None:
    """Refuse a record whose backbone has other weights: it may be a thousand times the file."""
    import torch._meta_registrations  # noqa: F401  # which shapes results without memory, where torch left it out

    require_named_backbone(spec)
    with shapes_only():
        require_fitting_weights(checkpoint, _backbone(spec), f"{path}", "backbone.")


def _backbone(spec: ModelSpec) -> Backbone:
    return Backbone(
        spec.backbone, pretrained=False, feature_stride=spec.feature_stride, image_size=spec.image_size,
        in_channels=spec.in_channels, feature_blocks=spec.feature_blocks,
    )  # fmt: skip


def load_network(checkpoint: dict[str, Any], path: str | Path = "checkpoint") -> Network:
    """Build the network that a checkpoint describes, with its weights, in evaluation mode."""
    spec = ModelSpec.from_checkpoint(checkpoint, path)
    head = partial(fitting_head, spec, checkpoint, path)
    network = Network(len(spec.class_names), recorded_backbone(spec, checkpoint, path), head, spec.normalise_features)
    network.take_weights(checkpoint, path)
    return network.eval()
