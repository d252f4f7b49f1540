"""What a user would write in place of `ibca predict`: timm, OpenCV, a CSV file; `tests.bench.predict` runs both."""

import csv
import sys
from pathlib import Path

import cv2
import timm
import torch


def main(backbone: str, side: int, batch: int, folder: str, output: str, weights: str) -> None:
    """Write probabilities of all pictures of a folder."""
    model = timm.create_model(backbone, num_classes=3).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    mean, std = (torch.tensor(model.default_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    names = sorted(Path(folder).iterdir())
    with Path(output).open("w", newline="") as file, torch.inference_mode():
        table = csv.writer(file)
        table.writerow(["id", "a", "b", "c"])
        for start in range(0, len(names), batch):
            some = names[start : start + batch]
            pictures = []
            for name in some:
                image = cv2.resize(cv2.imread(str(name), cv2.IMREAD_COLOR_RGB), (side, side))
                pictures.append(torch.from_numpy(image).permute(2, 0, 1))
            images = (torch.stack(pictures).float() / 255 - mean) / std
            for name, row in zip(some, model(images).sigmoid().tolist(), strict=True):
                table.writerow([name.name, *row])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
