import timm
import torch
from torch.utils.data import DataLoader, TensorDataset

from ibca_lightning.heads import IBCAHead
from ibca_lightning.heads.layers import MapBatchNorm
from ibca_lightning.losses import masked_bce
from ibca_lightning.metrics import figures

names, epochs = ["MA", "HE", "EX"], 20
images = torch.randn(64, 3, 224, 224)  # yours, normalised as the backbone wants them
labels = torch.randint(-1, 2, (64, len(names)))  # yours: 1, 0, and -1 where nobody knows
batches = DataLoader(TensorDataset(images, labels), batch_size=16, shuffle=True)

backbone = timm.create_model("resnet50", pretrained=True, num_classes=0)
standardise = MapBatchNorm(backbone.num_features, affine=False)  # every channel of the map to mean 0, deviation 1
head = IBCAHead(backbone.num_features, len(names))
model = torch.nn.ModuleList([backbone, standardise, head])
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

last = epochs * len(batches) - 1
for epoch in range(epochs):
    for number, (pictures, known) in enumerate(batches):
        head.set_progress((epoch * len(batches) + number) / last)  # from 0 at the first step to 1 at the last
        output = head(standardise(backbone.forward_features(pictures)), labels=known)
        loss = masked_bce(output.logits, known) + sum(output.losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

model.eval()
with torch.no_grad():  # of test pictures; `output.attention` has their maps
    output = head(standardise(backbone.forward_features(images)))
print("mAP", figures(output.logits.sigmoid(), labels, names)["metrics"]["mAP"])
torch.save(model.state_dict(), "model.pt")  # the progress is in it
