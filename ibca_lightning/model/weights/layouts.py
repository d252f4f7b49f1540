"""The layouts of keys that weights are published in, and what brings each into timm's.

Each was rebuilt from the project's own code that reads or writes it; no published file was at hand. A layout is known
by its keys alone. What stands before all keys (`module.`, `visual.trunk.`) is left to `towers.one_tower`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

State = dict[str, Tensor]


def renamed(state: State) -> State:
    """As it is: the keys are timm's, or timm's own converter for the backbone knows them."""
    return state


def dinov2(state: State) -> State:
    """DINOv2, RETFound-DINOv2, CheXFound: blocks may lie in chunks, SwiGLU's layers are w12 and w3."""
    names = ((r"blocks\.\d+\.(\d+)\.", r"blocks.\1."), (r"mlp\.w12\.", "mlp.fc1."), (r"mlp\.w3\.", "mlp.fc2."))
    return _registers(_substituted(state, names))


def hugging_face(state: State) -> State:
    """Transformers' ViT, ViTMAE and DINOv2 (RAD-DINO): query, key and value apart, every part by a longer name."""
    names = (
        (r"embeddings\.(cls_token|register_tokens)", r"\1"),
        (r"embeddings\.position_embeddings", "pos_embed"),
        (r"embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"encoder\.layer\.(\d+)\.", r"blocks.\1."),
        (r"attention\.output\.dense\.", "attn.proj."),
        (r"attention\.attention\.", "attn."),
        (r"layernorm_before\.", "norm1."),
        (r"layernorm_after\.", "norm2."),
        (r"layernorm\.", "norm."),
        (r"(intermediate\.dense|mlp\.weights_in)\.", "mlp.fc1."),
        (r"mlp\.weights_out\.", "mlp.fc2."),
        (r"(blocks\.\d+\.)output\.dense\.", r"\1mlp.fc2."),
        (r"layer_scale([12])\.lambda1", r"ls\1.gamma"),
    )
    apart = _substituted(state, names)
    joined: State = {}
    for key, value in apart.items():
        part = re.search(r"attn\.(query|key|value)\.", key)
        three = [key.replace(part[0], f"attn.{name}.") for name in ("query", "key", "value")] if part else []
        if part is None or not apart.keys() >= set(three):
            joined[key] = value
        elif part[1] == "query":
            joined[key.replace("attn.query.", "attn.qkv.")] = torch.cat([apart[name] for name in three])
    return _registers(joined)


def _substituted(state: State, names: Iterable[tuple[str, str]]) -> State:
    def name(key: str) -> str:
        for old, new in names:
            key = re.sub(old, new, key)
        return key

    return {name(key): value for key, value in state.items()}


def _registers(state: State) -> State:
    """Where there are register tokens, timm adds the first position to the class token, once for all."""
    before = next((key.removesuffix("register_tokens") for key in state if key.endswith("register_tokens")), None)
    if before is None or not state.keys() >= {f"{before}cls_token", f"{before}pos_embed"}:
        return state
    rest = dict(state)
    rest[f"{before}reg_token"] = rest.pop(f"{before}register_tokens")
    position = rest[f"{before}pos_embed"]
    rest[f"{before}cls_token"] = rest[f"{before}cls_token"] + position[:, :1]
    rest[f"{before}pos_embed"] = position[:, 1:]
    return rest


@dataclass(frozen=True)
class Layout:
    """A layout of keys.

    Attributes:
        title: For people.
        marks: Patterns that each match a key of a file in this layout.
        drops: Pattern of the keys that are no part of the backbone.
        convert: Brings the others into timm's keys.
        published: Whose normalisation the weights were trained with, a key of `normalisation.SETS`; None is not known.
        quick_gelu: Whether it is of weights that were trained with QuickGELU, which no key tells.
    """

    title: str
    marks: tuple[str, ...]
    drops: str = r"^$"
    convert: Callable[[State], State] = renamed
    published: str | None = None
    quick_gelu: bool = False

    def found(self, state: State) -> int:
        """How many of the marks are there."""
        return sum(any(re.search(mark, key) for key in state) for mark in self.marks)


LAYOUTS = (  # the first that has all its marks
    Layout(
        "FLAIR", (r"^vision_model\.model\.conv1\.weight$", r"^vision_model\.projection_head_vision\."),
        r"^(text_model\.|logit_scale$|vision_model\.projection_head_vision\.)", published="flair",
    ),
    Layout("SigLIP in open_clip", (r"visual\.trunk\.", r"(^|\.)logit_bias$"), r"^(text\.|logit_\w+|visual\.head\.)"),
    Layout("open_clip (BiomedCLIP)", (r"visual\.trunk\.",), r"^(text\.|logit_\w+|visual\.head\.)", published="clip"),
    Layout(
        "OpenAI's CLIP", (r"visual\.class_embedding$",), r"^(?!.*visual\.)[^.]+", published="clip", quick_gelu=True
    ),
    Layout(
        "Hugging Face DINOv2", (r"embeddings\.patch_embeddings\.projection\.weight$", r"layer_scale1\.lambda1$"),
        r"(^|\.)(mask_token$|classifier\.)", hugging_face, "imagenet",
    ),
    Layout(
        "Hugging Face ViTMAE", (r"embeddings\.patch_embeddings\.projection\.weight$", r"^decoder\.decoder_embed\."),
        r"(^|\.)decoder\.", hugging_face, "imagenet",
    ),
    Layout(
        "Hugging Face ViT", (r"embeddings\.patch_embeddings\.projection\.weight$", r"layernorm_before\.weight$"),
        r"(^|\.)(mask_token$|classifier\.|pooler\.)", hugging_face,
    ),
    Layout(
        "MAE", (r"(^|\.)mask_token$", r"(^|\.)decoder_embed\.weight$"), r"(^|\.)(mask_token$|decoder_\w+)",
        published="imagenet",
    ),
    Layout("DINOv3", (r"(^|\.)storage_tokens$",), r"(^|\.)(dino|ibot)_head\.|^student\.", published="imagenet"),
    Layout(
        "DINOv2", (r"(^|\.)mask_token$", r"ls1\.gamma$"), r"(^|\.)(mask_token$|(dino|ibot)_head\.)|^student\.", dinov2,
        "imagenet",
    ),
    Layout("DINO", (r"(^|\.)head\.mlp\.0\.", r"(^|\.)head\.last_layer\."), r"(^|\.)head\.", published="imagenet"),
)  # fmt: skip
