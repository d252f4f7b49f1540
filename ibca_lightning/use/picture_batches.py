"""Pictures for one or several models, read as each of them wants; what cannot be read is handed on as a reason."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.data.worker import quiet_worker
from ibca_lightning.system.errors import PictureError


class Reading(NamedTuple):
    """One picture: (3, S, S) uint8 for each transform, or why there is none."""

    id: str
    images: list[Tensor]
    reason: str | None = None


class Batch(NamedTuple):
    """Pictures that could be read, and those that could not.

    Attributes:
        ids: B paths.
        images: For each transform (B, 3, S, S) uint8; none where no picture of the batch could be read.
        failed: (path, reason) of the others.
    """

    ids: list[str]
    images: list[Tensor]
    failed: list[tuple[str, str]]


class Readings(Dataset[Reading]):
    """Pictures, and no more than that: neither labels nor an order of their own.

    Args:
        files: Paths by id.
        transforms: One for each way of reading them.
    """

    def __init__(self, files: Mapping[str, str], transforms: Sequence[Transform]) -> None:
        self.files, self.transforms = list(files.items()), transforms

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> Reading:
        """Read one picture."""
        name, path = self.files[at]
        try:
            file = PictureFile(path)
            return Reading(name, [transform(transform.read(file))[0] for transform in self.transforms])
        except PictureError as error:
            return Reading(name, [], f"expected {error.expected}, got {error.got}")


def readings_loader(readings: Readings, batch_size: int, num_workers: int) -> DataLoader[Batch]:
    """Return batches of readings, in order.

    Args:
        readings: The pictures.
        batch_size: Pictures in a batch.
        num_workers: Worker processes; 0 reads in this process.

    Returns:
        The loader; a picture that cannot be read is named in its batch and has no row in it.
    """
    return DataLoader(
        readings,  # type: ignore[arg-type]  # the collation makes batches of another type
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=quiet_worker,
    )


def _collate(readings: list[Reading]) -> Batch:
    good = [reading for reading in readings if reading.reason is None]
    images = [torch.stack(own) for own in zip(*(reading.images for reading in good), strict=True)]
    failed = [(reading.id, reading.reason) for reading in readings if reading.reason is not None]
    return Batch([reading.id for reading in good], images, failed)
