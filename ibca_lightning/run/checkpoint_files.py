"""Checkpoints that are written whole or not at all, whatever ends the process or the disk."""

import io
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from ibca_lightning.system.whole_files import whole


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes beside the file, to the disk itself, and puts it in place at the end.

    Lightning writes into the machine's folder for temporary files, which on another file system means that the last
    good checkpoint is overwritten byte by byte.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            OSError: When it cannot be written; an earlier file is then as it was.
        """
        content = io.BytesIO()  # torch says of a full disk only that its archive is at an unexpected place
        torch.save(checkpoint, content)
        with whole(path, durable=True) as part:
            part.write_bytes(content.getbuffer())
