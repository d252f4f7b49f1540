import pytest

from ibca_lightning.run.callbacks.results import WriteResults
from tests.run.callbacks.fake_wandb import FakeWandb
from tests.training import Data, Pictures, loader, module, trainer


class Sexes(Pictures):
    def __getitem__(self, at):
        return super().__getitem__(at) | {"subgroup": {"sex": "FM"[at % 2]}}


def test_every_figure_and_a_per_class_table_are_logged(tmp_path):
    logger, model = FakeWandb(offline=True), module()
    run = trainer(logger=logger, callbacks=[WriteResults(tmp_path)])
    run.fit(model, loader(Sexes(16)), loader(Sexes(16)))
    assert logger.tables["val/per_class"][0][:3] == ["class", "AP", "AUROC"]
    assert {"val/mAP", "val_sex/F/mAP", "val_AP/class 0"} <= set(logger.figures)
    run.test(model, datamodule=Data({"one": Sexes(12), "two": Sexes(9, seed=1)}), verbose=False)
    for name in ("one", "two"):
        figures = model.evaluations[name].figures
        header, *rows = logger.tables[f"test_{name}/per_class"]
        assert [row[0] for row in rows] == model.class_names
        for row in rows:
            assert dict(zip(header[1:], row[1:], strict=True)) == figures["per_class"][row[0]]
        assert logger.figures[f"test_{name}/CF1"] == pytest.approx(figures["metrics"]["CF1"])
        assert logger.figures[f"test_{name}_tuned/CF1"] == pytest.approx(figures["tuned"]["CF1"])
        women = figures["subgroups"]["sex"]["F"]["metrics"]["mAP"]
        assert logger.figures[f"test_{name}_sex/F/mAP"] == pytest.approx(women)
