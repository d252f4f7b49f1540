import lightning.pytorch as pl

import ibca_lightning
from ibca_lightning.data import CSVDataModule
from ibca_lightning.heads import IBCAHead

data = CSVDataModule("data/ward7", image_dir="images", group_column="patient", image_size=384)
model = ibca_lightning.MultiLabelModule(
    data.num_labels,
    data.class_names,
    data.image_size,
    backbone="resnet50",
    head=IBCAHead,
    preprocessing=data.preprocessing,
)
trainer = pl.Trainer(max_epochs=20)
trainer.fit(model, data)
trainer.save_checkpoint("ward7.ckpt")
