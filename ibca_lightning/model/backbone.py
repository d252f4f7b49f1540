"""Backbone: any timm model (https://github.com/huggingface/pytorch-image-models) to a feature map (B, C, H, W).

Shapes: B images, S pixels a side, C channels, H x W positions.

Which map, by `feature_stride` (the rule is the same for every head and every family):

* an int asks for the deepest map that is no coarser than it. Where that is the model's deepest, it is the model's own
  final map, all that comes before pooling (mobilenetv2_100 at 32: 1280 channels, its last 1x1 convolution included).
  A ViT has one stride, its patch size, so 32 gives its token grid, prefix tokens dropped, final norm applied. Where
  the final map has fewer cells than the last stage, as behind vgg's 7x7 convolution, it is the last stage's.
* a finer int, or a list, takes the outputs of the stages as timm's `features_only` has them, without final norm or last
  1x1 convolution (mobilenetv2_100 at [32]: 320 channels). The strides of a list must exist; its maps are resized
  (bilinear) to the finest and concatenated, finest first.

* `feature_blocks` n takes the last n blocks of a ViT side by side, each through the final norm, and where the model has
  class tokens those of the same blocks behind them, as one more map, of one cell: resized, it is the same everywhere.

What the chosen map does not use is dropped, and what timm cannot drop is frozen: DDP meets no unused parameter.
"""

import hashlib
import inspect
import logging
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import huggingface_hub
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ibca_lightning.model.weights import architectures  # noqa: F401 - timm knows them from here on
from ibca_lightning.model.weights.files import POOLED_NORM, first_line, load
from ibca_lightning.model.weights.normalisation import Normalisation, chosen, require_normalisation
from ibca_lightning.model.weights.shapes_only import shapes_only
from ibca_lightning.system.errors import InputError

log = logging.getLogger(__name__)


class Backbone(nn.Module):
    """A timm model that returns one feature map.

    Args:
        name: Any timm name, with or without a tag (`resnet50`, `resnet50.a1_in1k`).
        pretrained: Fetch timm's weights for that name.
        checkpoint_path: Local `.safetensors`, `.pth` or `.ckpt` file in the keys of timm or of a layout that `weights`
            converts; wins over `pretrained`, nothing is fetched then. Its classifier is ignored.
        feature_stride: Pixels of the image a cell, or several: see the head of this file.
        freeze: No gradient for any parameter, and evaluation mode (BatchNorm statistics stay, no dropout).
        image_size: S; models of fixed size (ViT, swin) are built for it.
        in_channels: Of the pictures; weights of another number are adapted as timm does (1: summed; else repeated).
        normalisation: `auto`, `imagenet`, `clip`, `half`, or `{"mean": [...], "std": [...]}` a channel: see `weights`.
        feature_blocks: Blocks of a ViT, the last ones, and their class tokens; 0 for its final map alone.

    Attributes:
        channels: C of the map.
        mean, std: What the images are to be normalised with, per channel, on the scale 0..1.
        default_image_size: S the model was trained at.
        class_tokens: Whether the second half of the channels are class tokens.

    Raises:
        InputError: The name is unknown, the model gives no map at that size or stride, or the weights cannot be had.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __init__(
        self,
        name: str,
        *,
        pretrained: bool = True,
        checkpoint_path: str | None = None,
        feature_stride: int | Sequence[int] = 32,
        freeze: bool = False,
        image_size: int = 384,
        in_channels: int = 3,
        normalisation: Normalisation = "auto",
        feature_blocks: int = 0,
    ) -> None:
        super().__init__()
        _check_name(name)
        require_normalisation(normalisation, in_channels)
        fetch = pretrained and checkpoint_path is None
        own = {} if in_channels == 3 else {"in_chans": in_channels}
        model, poolless = (_create_pretrained if fetch else _create)(name, image_size, **own)
        published = load(model, name, checkpoint_path, in_channels) if checkpoint_path is not None else None
        self.model = model
        self.in_channels = in_channels
        self.mean, self.std = chosen(
            normalisation, model.pretrained_cfg, in_channels, checkpoint_path, published, fetched=fetch
        )
        self.default_image_size = int(model.pretrained_cfg["input_size"][-1])
        self.frozen = False
        self._indices: list[int] | None = None  # of the stages to take; None: the model's own final map
        self._final_norm = False  # of a token model, which gives its final map as a stage
        self._blocks = feature_blocks
        self.class_tokens = feature_blocks > 0 and getattr(model, "cls_token", None) is not None
        stride = self._choose(name, feature_stride, image_size, poolless)
        self.channels = self._probe(name, image_size, stride)
        if freeze:
            self.freeze()

    def forward(self, images: Tensor) -> Tensor:
        """Map a batch of images (B, in_channels, S, S), normalised with `mean` and `std`, to (B, C, H, W)."""
        return self.combine(self.stages(images))

    def stages(self, images: Tensor) -> list[Tensor]:
        """Map a batch of images, each chosen stage at its own resolution: what can be stored and combined later.

        Returns:
            One (B, C_i, H_i, W_i) for each stride, finest first; the C_i sum to C. With `feature_blocks` one of all
            blocks, and the class tokens (B, C_1, 1, 1).
        """
        if self._blocks:
            return self._last_blocks(images)
        if self._indices is None:
            features: Tensor = self.model(images)
            return [features.permute(0, 3, 1, 2) if self._channels_last else features]
        maps: list[Tensor] = self.model.forward_intermediates(
            images, indices=self._indices, norm=self._final_norm, output_fmt="NCHW", intermediates_only=True
        )
        if self._final_norm and isinstance(getattr(self.model, "fc_norm", None), nn.Module):
            # Some ViTs norm after the pool instead of before it; an Identity in all others.
            return [self.model.fc_norm(maps[0].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)]
        return maps

    def _last_blocks(self, images: Tensor) -> list[Tensor]:
        blocks = self.model.forward_intermediates(
            images, indices=self._blocks, norm=True, output_fmt="NCHW", intermediates_only=True,
            return_prefix_tokens=self.class_tokens,
        )  # fmt: skip
        if not self.class_tokens:
            return [torch.cat(blocks, dim=1)]
        # Register tokens stand behind the class token.
        return [
            torch.cat([patches for patches, _ in blocks], dim=1),
            torch.cat([prefix[:, 0] for _, prefix in blocks], dim=1)[..., None, None],
        ]

    @staticmethod
    def combine(stages: Sequence[Tensor]) -> Tensor:
        """Resize the maps of all `stages` (bilinear) to the finest and concatenate them: (B, C, H, W)."""
        if len(stages) == 1:
            return stages[0]
        finest = stages[0].shape[-2:]
        resized = [F.interpolate(x, size=finest, mode="bilinear", align_corners=False) for x in stages[1:]]
        return torch.cat([stages[0], *resized], dim=1)

    def fingerprint(self) -> str:
        """Name the weights: 16 hexadecimal digits, the same for the same values on any device."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            if tensor.is_floating_point():  # BatchNorm's counters of batches change no map
                digest.update(f"{name} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def freeze(self) -> None:
        """No gradient for any parameter, and evaluation mode, until `thaw`."""
        self._learning = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        self.frozen = True
        self.requires_grad_(False)
        self.train(False)

    def thaw(self) -> None:
        """Let learn again what learnt before `freeze`; the mode is the caller's to set."""
        self.frozen = False
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in self._learning)

    def train(self, mode: bool = True) -> "Backbone":
        """Set training mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    @property
    def _channels_last(self) -> bool:
        """Whether the model's own final map is (B, H, W, C)."""
        return getattr(self.model, "output_fmt", "NCHW") == "NHWC"

    def _choose(self, name: str, asked: int | Sequence[int], image_size: int, poolless: bool) -> int:
        """Decide which maps to take, and drop the stages after them; return the finest stride."""
        stages = {int(info["reduction"]): index for index, info in enumerate(self.model.feature_info)}
        strides = sorted(stages)  # one entry a stride, the deepest stage of each
        known = f"one of the strides of {name}, {strides}"
        if isinstance(asked, int):
            wanted = [max((stride for stride in strides if stride <= asked), default=0)]
        else:
            wanted = sorted(set(asked))
        if not wanted or not set(wanted) <= set(strides):
            raise InputError(f"feature_stride to be {known}, or a list of them", asked, "choose among these")
        if self._blocks:
            reads = inspect.signature(self.model.forward_intermediates).parameters
            depth = len(self.model.feature_info) if {"norm", "return_prefix_tokens"} <= set(reads) else 0
            if not 0 < self._blocks <= depth:
                expected = f"feature_blocks from 0 to {depth}, the blocks of {name}" if depth else "feature_blocks 0"
                fix = "correct it" if depth else f"{name} is none of timm's ViTs that give them"
                raise InputError(expected, self._blocks, fix)
            return wanted[0]
        if wanted == [strides[-1]] and (isinstance(asked, int) or len(strides) == 1):
            final = self._final(image_size, wanted[0]) if poolless else "other"
            if final == "map":
                return wanted[0]
            self._final_norm = final == "tokens"
        self._indices = self.model.prune_intermediate_layers(
            [stages[stride] for stride in wanted], prune_norm=not self._final_norm, prune_head=not self._final_norm
        )
        return wanted[0]

    def _final(self, image_size: int, stride: int) -> str:
        """What the whole model returns: a "map", "tokens" that it can lay out as a normed map itself, or "other"."""
        try:
            with torch.no_grad():
                output = self._dry_run(self.model, image_size)
            whole = isinstance(output, Tensor) and output.ndim == 4
            rows = output.shape[1 if self._channels_last else 2] if whole else 0
            if rows >= max(image_size // stride, 1):
                return "map"
            # The grid is left to timm, which knows each model's prefix tokens and order (qwen3_vit's is not by rows).
            with torch.no_grad():
                options = {"indices": 1, "norm": True, "output_fmt": "NCHW", "intermediates_only": True}
                stage = self._dry_run(self.model.forward_intermediates, image_size, **options)[0]
            if rows:  # convolutions without padding lose some cells in the stages too
                return "map" if rows >= stage.shape[2] else "other"
            return "tokens" if isinstance(output, Tensor) and output.shape[1] > 1 else "other"
        except (AssertionError, RuntimeError, ValueError, TypeError):
            return "other"  # the stages may do; if they do not either, `_probe` tells the user

    def _probe(self, name: str, image_size: int, stride: int) -> int:
        """Run once: is it a map as fine as it says, of how many channels, and which parameters does it use?"""
        try:
            with torch.enable_grad():
                output = self._dry_run(self, image_size)
        except (AssertionError, RuntimeError, ValueError, TypeError) as error:
            output = error
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise InputError(
                f"backbone {name} to give a feature map (B, C, H, W) for {image_size} x {image_size} pixels",
                first_line(output) if isinstance(output, Exception) else tuple(getattr(output, "shape", ())),
                f"try its own size, `--data.image_size {self.default_image_size}`, or another `--model.backbone`",
            )
        if 2 * output.shape[2] < image_size // stride:
            raise InputError(
                f"a map of backbone {name} with a cell for each {stride} pixels of {image_size}",
                f"{output.shape[2]} x {output.shape[3]} cells", "give a larger `--data.image_size` or another backbone",
            )  # fmt: skip
        used = _reached(output)
        for parameter in self.parameters():
            parameter.requires_grad_(parameter in used)
        return output.shape[1]

    def _dry_run(self, function: Any, image_size: int, **options: Any) -> Any:
        """Call with one black image in evaluation mode, so that neither statistics nor random numbers are touched."""
        self.model.eval()
        try:
            black = next(self.model.parameters()).new_zeros(1, self.in_channels, image_size, image_size)
            return function(black, **options)
        finally:
            self.model.train()


def _reached(output: Tensor) -> set[Tensor]:
    """The parameters that `output` depends on, from its autograd graph; no backward pass is needed."""
    found: set[Tensor] = set()
    seen, todo = set(), [output.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        todo.extend(before for before, _ in node.next_functions)
    return found


def _check_name(name: str) -> None:
    """Refuse what timm does not know, with the names that come nearest; hub and folder names are left to timm."""
    if ":" in name:
        return
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=4, cutoff=0.5)
        advice = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
        raise InputError("backbone to be a model of timm", repr(name), advice)
    tagged = timm.list_models(f"{architecture}.*", include_tags=True)
    if architecture != name and name not in tagged:
        raise InputError(f"a weights tag of {architecture}", repr(name), f"there are {', '.join(tagged) or 'none'}")


def _create(name: str, image_size: int, **more: Any) -> tuple[Any, bool]:
    """The model without classifier, and whether it is without pool too (a few families refuse that)."""
    options: list[dict[str, Any]] = [
        {**pool, **size} for pool in ({"global_pool": ""}, {}) for size in ({"img_size": image_size}, {})
    ]
    refusal: Exception | None = None
    for own in options:
        try:
            return timm.create_model(name, num_classes=0, **own, **more), "global_pool" in own
        except (AssertionError, TypeError) as error:  # how families refuse one of these arguments
            refusal = error
        except (OSError, RuntimeError, ValueError) as error:
            refusal = error
            break
    wanted = f"backbone {name} to be built for {image_size} x {image_size} pixels"
    fix = "choose another `--data.image_size` or `--model.backbone`"
    raise InputError(wanted, first_line(refusal), fix) from refusal


def _create_pretrained(name: str, image_size: int, **own: Any) -> tuple[Any, bool]:
    try:
        source = _source(name)
    except Exception as error:  # of huggingface_hub and its HTTP library: there is no common base
        raise _unfetched(name, error) from error
    try:
        made = _create(name, image_size, pretrained=True, **source, **own)
        usual: Any = None
        if _norms_after_its_pool(name, made[0]):
            usual = timm.create_model(name, num_classes=0, pretrained=True, **source, **own)
    except Exception as error:  # the same, and of timm, urllib and the file formats
        _create(name, image_size, **own)  # tells the user if the model, not its weights, is at fault
        raise _unfetched(name, error.__cause__ or error) from error
    if usual is not None:
        made[0].norm.load_state_dict(usual.fc_norm.state_dict())
        log.info("%s: %s", name, POOLED_NORM)
    return made


def _norms_after_its_pool(name: str, model: Any) -> bool:
    """Whether timm's network, and so its file, has the last norm behind the pool.

    This one, without pool, has it before, and timm would leave it as it was drawn, without a word.
    """
    before, behind = getattr(model, "norm", None), getattr(model, "fc_norm", None)
    if before is None or isinstance(before, nn.Identity) or not isinstance(behind, nn.Identity):
        return False
    with shapes_only():
        usual: Any = timm.create_model(name, num_classes=0)
    return not isinstance(usual.fc_norm, nn.Identity)


def _unfetched(name: str, error: BaseException) -> InputError:
    fix = "use `--model.pretrained false`, or a local file: `--model.checkpoint_path FILE`"
    return InputError(f"the pretrained weights of {name} from the network or the local cache", first_line(error), fix)


def _source(name: str) -> dict[str, Any]:
    """Where timm is to load from: its own choice, or with no network the local cache.

    huggingface_hub tries an unreachable hub for 45 s, and 20 s for what it has in its cache. One request tells at once.
    """
    if ":" in name:
        return {}
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise LookupError("no weights exist for this model")
    if not config.hf_hub_id:
        return {}
    repository, _, revision = config.hf_hub_id.partition("@")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
    try:
        url = huggingface_hub.hf_hub_url(repository, files[0], revision=revision or None)
        huggingface_hub.get_session().head(url, timeout=10)
    except Exception:
        for file in files:
            cached = huggingface_hub.try_to_load_from_cache(repository, file, revision=revision or None)
            if isinstance(cached, str):
                return {"pretrained_cfg_overlay": {"file": cached}}
        raise
    return {}
