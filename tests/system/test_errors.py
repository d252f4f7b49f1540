import pickle

import pytest
from torch.utils.data import DataLoader, Dataset

from ibca_lightning.cli import main
from ibca_lightning.system.errors import InputError


class Broken(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise InputError("a picture at a.png", "an empty file", "replace it")


def test_input_error_is_one_line_and_survives_pickling():
    error = InputError("a table\nwith rows", "none", "add rows")
    assert str(error) == "a table with rows, got none; add rows"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.fix) == (str(error), "add rows")


def test_input_error_of_a_dataloader_worker_keeps_its_line():
    with pytest.raises(InputError) as caught:
        next(iter(DataLoader(Broken(), num_workers=1)))
    assert str(caught.value) == "a picture at a.png, got an empty file; replace it"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fitt"], 2, "error: a command"),
        ([], 2, "error: a command"),
        (["--help"], 0, ""),
        (["--version"], 0, ""),
    ],
)
def test_exit_codes_without_a_run(arguments, code, said, capsys):
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.err.startswith(said)
    assert len(captured.err.splitlines()) == (1 if said else 0)
