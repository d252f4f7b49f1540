"""A small VinDr-CXR: DICOM, three readers for each training picture, boxes, another name in the test table.

python tests/datasets/fake_vindr_cxr.py DIR
"""

import csv
import sys
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

LABELS = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion"),
    *("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding"),
)


def dicom(path: Path, pixels: np.ndarray, inverted: bool) -> None:
    """Write a radiograph of 12 bits, (H, W) uint16, with a window over all of them."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID
    header.Modality = "DX"
    header.Rows, header.Columns = pixels.shape
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    header.WindowCenter, header.WindowWidth = 2048, 4096
    header.PixelData = (4095 - pixels if inverted else pixels).astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)


def truth(row: int) -> list[int]:
    """Return the labels that most readers of a picture give."""
    return [int(row % 28 == at or (row + 9) % 28 == at) for at in range(28)]


def write(root: Path, train: int = 56, test: int = 28) -> None:
    """Write both splits; of a picture's readers the first takes the first label for the next one too."""
    rng = np.random.default_rng(0)
    root = Path(root)
    (root / "annotations").mkdir(parents=True)
    for split, count, readers in (("train", train, ("R8", "R09", "R10")), ("test", test, ("",))):
        table: list[list[object]] = []
        for row in range(count):
            name = f"{'0001' if split == 'train' else 'fa9d'}{row:028x}"
            labels = truth(row)
            pixels = rng.integers(600, 1400, (80, 64), dtype=np.uint16)
            for at, label in enumerate(labels):
                pixels[at * 2 : at * 2 + 8, at * 2 : at * 2 + 8] += np.uint16(1500 * label)
            dicom(root / split / f"{name}.dicom", pixels, inverted=row % 3 == 0)
            for reader in readers:
                seen = list(labels)
                if reader == "R8":
                    seen[(labels.index(1) + 1) % 28] = 1
                table.append([name, *([reader] if reader else []), *seen])
        # The real tables are not in the order of the pictures: readers of one picture stand apart.
        table = [table[at] for at in rng.permutation(len(table))]
        header = ["image_id", *(["rad_id"] if split == "train" else []), *LABELS]
        if split == "test":
            header[header.index("Other diseases")] = "Other disease"
        with open(root / "annotations" / f"image_labels_{split}.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *table])
        (root / "annotations" / f"annotations_{split}.csv").write_text("image_id,class_name,x_min,y_min,x_max,y_max\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
