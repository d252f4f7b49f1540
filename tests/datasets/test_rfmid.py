from pathlib import Path
from typing import Any, ClassVar

import pytest

from ibca_lightning.data import RFMiD
from ibca_lightning.system.errors import InputError
from tests.datasets import fake_rfmid
from tests.datasets.contract import DataModuleContract


class TestRFMiD(DataModuleContract):
    class_names: ClassVar = list(fake_rfmid.LABELS)
    rows: ClassVar = {"train": 50, "val": 48, "test": 48}

    def write(self, root: Path) -> None:
        fake_rfmid.write(root)

    def module(self, root: Path, **common: Any) -> RFMiD:
        return RFMiD(str(root), **common)


@pytest.mark.parametrize("below", ["", "A. RFMiD_All_Classes_Dataset"])
@pytest.mark.parametrize("layout", fake_rfmid.LAYOUTS)
def test_every_layout_gives_the_same_labels(tmp_path: Path, layout: str, below: str) -> None:
    fake_rfmid.write(tmp_path / below, layout)
    module = RFMiD(str(tmp_path))
    for split, (folder, _) in zip(("train", "val", "test"), fake_rfmid.LAYOUTS[layout], strict=True):
        table = module.table(split)
        assert table.name(9) == str(Path(below, folder, "10.png"))
        assert table.labels[9].tolist() == [int(at == 9) for at in range(45)]
        assert table.labels[29].tolist() == [int(at in (29, 5)) for at in range(45)]


def test_riadd_merges_the_rare_ones(tmp_path: Path) -> None:
    fake_rfmid.write(tmp_path)
    module = RFMiD(str(tmp_path), classes="riadd", disease_risk=True)
    assert module.class_names == ["Disease_Risk", *fake_rfmid.LABELS[:27], "OTHER"]
    labels = module.table("train").labels
    assert labels.shape == (50, 29)
    # Pictures 28 to 45 show a rare disease each; the 18th of them (45) with the 21st, RT. 50 shows the 26th alone.
    assert [row + 1 for row in range(50) if labels[row, 28]] == list(range(28, 46))
    assert labels[44].nonzero()[0].tolist() == [0, 21, 28]
    assert labels[49].nonzero()[0].tolist() == [0, 26]


def test_riadd_is_unknown_where_a_rare_one_may_be(tmp_path: Path) -> None:
    fake_rfmid.write(tmp_path)
    file = tmp_path / "Training_Set/RFMiD_Training_Labels.csv"
    lines = file.read_text().splitlines()
    lines[1], lines[28] = lines[1][:-1] + "-1", lines[28][:-1] + "-1"  # CL of pictures 1 and 28 (CWS)
    file.write_text("\n".join(lines))
    labels = RFMiD(str(tmp_path), classes="riadd").table("train").labels
    assert labels[[0, 1, 27], -1].tolist() == [-1, 0, 1]


def test_the_challenges_own_tables_are_read_as_they_are(tmp_path: Path) -> None:
    fake_rfmid.write(tmp_path, labels=(*fake_rfmid.LABELS[:27], "OTHER"))
    module = RFMiD(str(tmp_path), classes="riadd")
    assert (module.table("test").labels[:, -1] == 1).nonzero()[0].tolist() == [27]
    with pytest.raises(InputError, match="no column CWS"):
        RFMiD(str(tmp_path)).setup()


def test_wrong_values_and_missing_parts_are_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="all or riadd"):
        RFMiD(str(tmp_path), classes="RIADD")  # type: ignore[arg-type]
    fake_rfmid.write(tmp_path)
    (tmp_path / "Test_Set/Test/7.png").unlink()
    with pytest.raises(InputError, match=r"a picture 7.*Test_Set/Test.*RFMiD_Testing_Labels\.csv, line 8"):
        RFMiD(str(tmp_path)).setup()
    (tmp_path / "Test_Set").rename(tmp_path / "Testing_Set")
    with pytest.raises(InputError, match=r"Test_Set/Test.*doi 10\.3390/data6020014.*2\. Groundtruths"):
        RFMiD(str(tmp_path)).setup()
