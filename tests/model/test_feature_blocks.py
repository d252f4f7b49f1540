"""The last blocks of a ViT and their class tokens as one map."""

from functools import partial
from pathlib import Path

import pytest
import timm
import torch

from ibca_lightning.heads import GLoRIHead
from ibca_lightning.model.checkpoint import ModelSpec, read_checkpoint
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.model.network import load_network
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.model_files.model_record import CHECKPOINT_KEY
from tests.model.test_backbone import SIZE, images, make, without_gradient
from tests.training import Pictures, module, save


@pytest.mark.parametrize(("name", "prefix"), [("test_vit", 1), ("vit_small_patch16_dinov3", 5)])
def test_blocks_side_by_side_and_their_class_tokens_behind(name: str, prefix: int) -> None:
    backbone = make(name, feature_blocks=2).eval()
    plain = timm.create_model(name, num_classes=0, global_pool="", img_size=SIZE).eval()
    plain.load_state_dict(backbone.model.state_dict())
    seen: list[torch.Tensor] = []
    for block in plain.blocks[-2:]:
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    last = plain(images())
    tokens = torch.cat([plain.norm(own) for own in seen], dim=-1)
    torch.testing.assert_close(tokens[..., last.shape[-1] :], last)
    patches, token = backbone.stages(images())
    torch.testing.assert_close(patches, tokens[:, prefix:].mT.reshape(2, -1, 4, 4))
    torch.testing.assert_close(token, tokens[:, 0, :, None, None])
    whole = backbone(images())
    assert backbone.channels == whole.shape[1] == 2 * tokens.shape[-1]
    torch.testing.assert_close(whole[:, : tokens.shape[-1]], patches)
    torch.testing.assert_close(whole[:, tokens.shape[-1] :], token.expand(-1, -1, 4, 4), msg="the same everywhere")
    assert backbone.channels == 4 * make(name).channels
    assert without_gradient(make(name, feature_blocks=2)) == []


def test_without_a_class_token_blocks_alone() -> None:
    backbone = make("test_vit2", feature_blocks=3).eval()  # it has a register token
    (patches,) = backbone.stages(images())
    assert patches.shape == (2, 3 * 64, 4, 4)
    torch.testing.assert_close(patches[:, 128:], make("test_vit2").eval()(images()))


@pytest.mark.parametrize(
    ("name", "blocks", "message"),
    [("test_resnet", 1, "feature_blocks 0, got 1; test_resnet is none of"), ("test_vit", -1, "feature_blocks from 0"),
     ("test_vit", 7, "from 0 to 6, the blocks of test_vit, got 7"), ("volo_d1_224", 2, "is none of timm's ViTs")],
)  # fmt: skip
def test_what_has_no_such_blocks_is_refused(name: str, blocks: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(name, feature_blocks=blocks)


def test_a_checkpoint_holds_it_and_another_number_is_refused(tmp_path: Path) -> None:
    options = {"backbone": "test_vit", "head": lambda c, n: GLoRIHead(c, n, class_token=True)}
    fitted = module(**options, feature_blocks=2)
    path = save(fitted, tmp_path / "m.ckpt")
    pictures = torch.stack([Pictures(2)[at]["image"] for at in range(2)])
    checkpoint = read_checkpoint(path)
    for again in (load_network(checkpoint), MultiLabelModule.load_from_checkpoint(path).eval()):
        torch.testing.assert_close(again(pictures).logits, fitted.eval()(pictures).logits)
    spec = ModelSpec.from_checkpoint(checkpoint)
    with pytest.raises(InputError, match="the checkpoint's feature_blocks 2, got 1 from the configuration"):
        module(**options, feature_blocks=1).on_load_checkpoint(checkpoint)
    before = {name: value for name, value in spec.as_dict().items() if name != "feature_blocks"}
    checkpoint[CHECKPOINT_KEY] = before
    assert ModelSpec.from_checkpoint(checkpoint).feature_blocks == 0, "as one of before"


@pytest.mark.parametrize("options", [{}, {"backbone": "test_vit2", "feature_blocks": 2, "feature_stride": 16}])
def test_a_head_that_wants_class_tokens_is_refused_without(options: dict[str, object]) -> None:
    with pytest.raises(
        InputError, match=r"class token for model.head.class_token, got none; give model.feature_blocks"
    ):
        module(head=partial(GLoRIHead, class_token=True), **options)
