"""BatchNorm over all processes, for timm's backbones."""

from lightning.pytorch.plugins import TorchSyncBatchNorm
from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]
from torch import nn


class TimmSyncBatchNorm(TorchSyncBatchNorm):
    """Converts a model as timm does: torch, and Lightning with it, drops the activation inside timm's BatchNorm."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace every BatchNorm by one that sees the pictures of all processes; weights keep their names."""
        converted: nn.Module = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted

    def revert(self, model: nn.Module) -> nn.Module:
        """Leave it: outside of training it is an ordinary BatchNorm."""
        return model
