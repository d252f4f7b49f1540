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

What the chosen map does not use is dropped, and what timm cannot drop is frozen: DDP meets no unused parameter.
"""

import hashlib
import pickle
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from timm.models import adapt_input_conv
from torch import Tensor, nn

from ibca_lightning.model.weights.normalisation import Normalisation, chosen, require_normalisation
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import require_not_packed

_CLASSIFIERS = ("head", "head_dist", "fc", "classifier", "last_linear")  # timm's names for what comes after the pool

_WRAPPERS = (
    "state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module", "net", "network", "teacher",
)  # fmt: skip
"""Keys below which training programs put the weights: PyTorch's tutorials, timm, DINO and others."""
_ALONE = "use a file of the weights alone, torch.save(MODEL.state_dict(), FILE)"


class Backbone(nn.Module):
    """A timm model that returns one feature map.

    Args:
        name: Any timm name, with or without a tag (`resnet50`, `resnet50.a1_in1k`).
        pretrained: Fetch timm's weights for that name.
        checkpoint_path: Local `.safetensors`, `.pth` or `.ckpt` file in the keys of timm (or of a layout timm
            converts); wins over `pretrained`, nothing is fetched then. Its classifier is ignored.
        feature_stride: Pixels of the image a cell, or several: see the head of this file.
        freeze: No gradient for any parameter, and evaluation mode for good (BatchNorm statistics stay, no dropout).
        image_size: S; models of fixed size (ViT, swin) are built for it.
        in_channels: Of the pictures; weights of another number are adapted as timm does (1: summed; else repeated).
        normalisation: `auto`, `imagenet`, `clip`, `half`, or `{"mean": [...], "std": [...]}` a channel: see `weights`.

    Attributes:
        channels: C of the map.
        mean, std: What the images are to be normalised with, per channel, on the scale 0..1.
        default_image_size: S the model was trained at.

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
    ) -> None:
        super().__init__()
        _check_name(name)
        require_normalisation(normalisation, in_channels)
        fetch = pretrained and checkpoint_path is None
        own = {} if in_channels == 3 else {"in_chans": in_channels}
        model, poolless = (_create_pretrained if fetch else _create)(name, image_size, **own)
        if checkpoint_path is not None:
            _load(model, name, checkpoint_path, in_channels)
        self.model = model
        self.in_channels = in_channels
        self.mean, self.std = chosen(normalisation, model.pretrained_cfg, in_channels, checkpoint_path)
        self.default_image_size = int(model.pretrained_cfg["input_size"][-1])
        self.frozen = freeze
        self._indices: list[int] | None = None  # of the stages to take; None: the model's own final map
        self._final_norm = False  # of a token model, which gives its final map as a stage
        stride = self._choose(name, feature_stride, image_size, poolless)
        self.channels = self._probe(name, image_size, stride)
        if freeze:
            self.requires_grad_(False)
        self.train(self.training)

    def forward(self, images: Tensor) -> Tensor:
        """Map a batch of images (B, in_channels, S, S), normalised with `mean` and `std`, to (B, C, H, W)."""
        return self.combine(self.stages(images))

    def stages(self, images: Tensor) -> list[Tensor]:
        """Map a batch of images, each chosen stage at its own resolution: what can be stored and combined later.

        Returns:
            One (B, C_i, H_i, W_i) for each stride, finest first; the C_i sum to C.
        """
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
                _first_line(output) if isinstance(output, Exception) else tuple(getattr(output, "shape", ())),
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
    raise InputError(wanted, _first_line(refusal), fix) from refusal


def _create_pretrained(name: str, image_size: int, **own: Any) -> tuple[Any, bool]:
    try:
        source = _source(name)
    except Exception as error:  # of huggingface_hub and its HTTP library: there is no common base
        raise _unfetched(name, error) from error
    try:
        return _create(name, image_size, pretrained=True, **source, **own)
    except Exception as error:  # the same, and of timm, urllib and the file formats
        _create(name, image_size, **own)  # tells the user if the model, not its weights, is at fault
        raise _unfetched(name, error.__cause__ or error) from error


def _unfetched(name: str, error: BaseException) -> InputError:
    fix = "use `--model.pretrained false`, or a local file: `--model.checkpoint_path FILE`"
    return InputError(f"the pretrained weights of {name} from the network or the local cache", _first_line(error), fix)


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


def _load(model: Any, name: str, path: str, in_channels: int) -> None:
    """Fill the whole model from a local file; nothing but a classifier may be missing or too much."""
    state = _read(path)
    expected = model.state_dict().keys()
    if not expected & state.keys():  # wrapped by DDP, torch.compile, a training module or a pair of encoders
        first = f".{next(iter(expected))}"
        prefix = min((key.removesuffix(first) for key in state if key.endswith(first)), key=len, default="")
        wrapper = rf"{re.escape(prefix)}\." if prefix else r"(?:module\.|_orig_mod\.|backbone\.|model\.)+"
        state = {
            key[found.end() :]: value for key, value in state.items() if (found := re.match(wrapper, key))
        } or state
    # timm's own conversion for this family: older layouts, position embeddings of another image size.
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    wanted = f"the weights of {name} in {path}"
    advice = "use a file of this backbone, with the keys of timm"
    named = model.pretrained_cfg.get("classifier") or ()
    classifiers = tuple(f"{part}." for part in (*_CLASSIFIERS, *((named,) if isinstance(named, str) else named)))
    try:
        state = convert(state, model) if convert else state
        layers: Any = model.pretrained_cfg.get("first_conv") or ()
        for layer in (layers,) if isinstance(layers, str) else layers:
            key = f"{layer}.weight"
            if in_channels != 3 and key in state and state[key].shape[1] == 3:
                state[key] = adapt_input_conv(in_channels, state[key])
        missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
        extra = [key for key in state if key not in expected and not key.startswith(classifiers)]
        wrong = [f"{word} {_few(keys)}" for word, keys in (("no", missing), ("unexpected", extra)) if keys]
        if not wrong:
            model.load_state_dict(state, strict=False)
    except Exception as error:  # a converter meets a foreign file; a shape does not fit
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        wrong = [lines[1] if len(lines) > 1 else f"{type(error).__name__}: {' '.join(lines)}"]
    if wrong:
        raise InputError(wanted, " and ".join(wrong), advice)


def _read(path: str) -> dict[str, Tensor]:
    """The tensors of a weights file, read without unpickling objects."""
    if not Path(path).is_file():
        raise InputError(f"checkpoint_path to be a file of weights, {path}", "no such file", "correct the path")
    try:
        require_not_packed(path)
        with torch.serialization.safe_globals([Namespace]):  # the options of timm's train.py: it only holds values
            content: Any = (
                safetensors.torch.load_file(path)
                if Path(path).suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
    except Exception as error:  # each format has its own errors for a damaged file
        # torch's advice would be to unpickle whatever the file holds
        held = re.search(r"GLOBAL ([\w.]+)", str(error))
        other = f"an object {held[1]}" if held else "something else"
        got = other if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise InputError(f"plain tensors (.safetensors, or .pth of torch.save) in {path}", got, _ALONE) from error
    for key in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, dict) else {}
    if not tensors:
        held_keys = f" among {_few([str(key) for key in content], 9)}" if isinstance(content, dict) and content else ""
        raise InputError(f"tensors by name in {path}", f"a {type(content).__name__} without any{held_keys}", _ALONE)
    return tensors


def _few(keys: Sequence[str], shown: int = 3) -> str:
    rest = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return ", ".join(keys[:shown]) + rest


def _first_line(error: BaseException | None) -> str:
    """An error of torch or timm as one short line: what it says before the first line break."""
    text = str(error).strip().splitlines()
    if text and "allocate memory" in text[0]:
        return "one that takes more memory than there is"
    return text[0][:200] if text else type(error).__name__
