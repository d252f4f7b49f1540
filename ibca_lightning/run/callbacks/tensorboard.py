"""A TensorBoard logger whose files lie in the run folder."""

from lightning.pytorch.loggers import TensorBoardLogger

from ibca_lightning.system.errors import InputError


class RunTensorBoardLogger(TensorBoardLogger):
    """Writes into the folder `tensorboard` of the run: `--trainer.logger tensorboard`, `tensorboard --logdir runs`.

    Args:
        max_queue: Entries that are kept back before they are written.
        flush_secs: Seconds after which they are written in any case.

    Raises:
        InputError: TensorBoard is not installed.
    """

    run_dir = ""  # set by the command line, which chooses the folder behind the logger's options

    def __init__(self, max_queue: int = 10, flush_secs: int = 120) -> None:
        try:
            super().__init__(
                "", name="", version="tensorboard", default_hp_metric=False, max_queue=max_queue, flush_secs=flush_secs
            )
        except ModuleNotFoundError as error:
            raise InputError("TensorBoard for --trainer.logger", "none installed", "pip install tensorboard") from error

    @property
    def root_dir(self) -> str:
        """The folder of the run."""
        return self.run_dir
