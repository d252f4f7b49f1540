"""A TensorBoard logger whose files lie in the run folder."""

from lightning.pytorch.loggers import TensorBoardLogger

from ibca_lightning.system.errors import InputError


class RunTensorBoardLogger(TensorBoardLogger):
    """Writes into the folder `tensorboard` of the run: `--trainer.logger tensorboard`, `tensorboard --logdir runs`.

    Raises:
        InputError: TensorBoard is not installed.
    """

    run_dir = ""  # set by the command line, which chooses the folder behind the logger's options

    def __init__(self) -> None:
        try:
            super().__init__("", name="", version="tensorboard", default_hp_metric=False)
        except ModuleNotFoundError as error:
            raise InputError("TensorBoard for --trainer.logger", "none installed", "pip install tensorboard") from error

    @property
    def root_dir(self) -> str:
        """The folder of the run."""
        return self.run_dir
