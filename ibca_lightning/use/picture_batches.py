"""Pictures for one or several models, read as each of them wants; what cannot be read is handed on as a reason."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.data.worker import end_workers_at_exit, quiet_worker
from ibca_lightning.system.errors import PictureError, shortened
from ibca_lightning.use.picture_list import require_writable


class Batch(NamedTuple):
    """Pictures that could be read, and those that could not.

    Attributes:
        ids: Of B pictures.
        images: For each transform (B, 3, S, S) uint8; none where no picture of the batch could be read.
        failed: (id, reason) of the others.
    """

    ids: list[str]
    images: list[Tensor]
    failed: list[tuple[str, str]]


def picture_batches(
    files: Mapping[str, str], transforms: Sequence[Transform], batch_size: int, num_workers: int
) -> "DataLoader[Batch]":
    """Batches of pictures, in order.

    Args:
        files: Paths by id.
        transforms: One for each way of reading them.
        batch_size: Pictures in a batch, with those that cannot be read.
        num_workers: Worker processes; 0 reads in this process.
    """
    end_workers_at_exit()
    return DataLoader(
        _Pictures(files, transforms), batch_size=batch_size, num_workers=num_workers, collate_fn=_collate,
        pin_memory=torch.cuda.is_available(), worker_init_fn=quiet_worker,
    )  # fmt: skip


class _Pictures(Dataset[Batch]):
    """Batches of one picture, and no more than that: neither labels nor an order of their own."""

    def __init__(self, files: Mapping[str, str], transforms: Sequence[Transform]) -> None:
        self.files, self.transforms = list(files.items()), transforms

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> Batch:
        name, path = self.files[at]
        try:
            require_writable(name)
            file = PictureFile(path)
            return Batch([name], [transform(transform.read(file))[0] for transform in self.transforms], [])
        except PictureError as error:
            return Batch([], [], [(name, shortened(f"expected {error.expected}, got {error.got}"))])


def _collate(singles: list[Batch]) -> Batch:
    images = [torch.stack(own) for own in zip(*(single.images for single in singles if single.ids), strict=True)]
    return Batch([n for s in singles for n in s.ids], images, [pair for s in singles for pair in s.failed])
