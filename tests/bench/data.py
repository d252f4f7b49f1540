"""What reading pictures costs, beside the bare decoder, and whether the goals of the data side are reached.

Ratios of CPU time on one thread, medians over rounds in which the routes take turns, so that a busy machine says the
same; where wall time is meant it is said. Pictures are drawn with detail of all sizes; nothing is downloaded.

    python -m tests.bench.data
"""

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from PIL import Image

from ibca_lightning.check.content import read_contents
from ibca_lightning.data import CSVDataModule, disk_cache
from ibca_lightning.data.cache import Layout
from ibca_lightning.data.dataset import PictureDataset
from ibca_lightning.data.loader import collate
from ibca_lightning.data.pictures.augmentation import Augmenter
from ibca_lightning.data.pictures.default_augmentation import DefaultAugmenter
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.data.pictures.transforms import evaluation_transform, training_transform
from ibca_lightning.heads import GAPHead
from ibca_lightning.losses import masked_bce
from ibca_lightning.model.backbone import Backbone
from ibca_lightning.system.allocator import keep_freed_memory

SIZE, STRETCH = 384, {"resize": "stretch"}
REDUCED = {1000: cv2.IMREAD_REDUCED_COLOR_2, 2048: cv2.IMREAD_REDUCED_COLOR_4}
LARGE = 112_120  # rows of ChestX-ray14


def photograph(side: int, seed: int) -> np.ndarray:
    """Draw a picture (side, side, 3) with detail of all sizes."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side, 3), np.float32)
    for octave in range(2, 11):
        noise = rng.normal(size=(2**octave, 2**octave, 3)).astype(np.float32) * 2 ** (-octave / 2)
        total += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 50 * total, 0, 255).astype(np.uint8)


def table(root: Path, sources: Sequence[Path], rows: int, labels: int = 14) -> None:
    """Write train.csv over links to some pictures, each patient four of them."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    values = (rng.random((rows, labels)) < 0.1).astype(int)
    lines = [",".join(["image", "patient", *(f"l{at}" for at in range(labels))])]
    # A file may have some ten thousand names at most: copies where there would be more.
    spread = [Path(source) for source in sources]
    for row in range(rows):
        name = f"{row:08d}.jpg"
        if row and row % (20_000 * len(sources)) == 0:
            spread = [root / f"copy{row}_{at}.jpg" for at in range(len(sources))]
            for source, copy in zip(sources, spread, strict=True):
                copy.write_bytes(source.read_bytes())
        os.link(spread[row % len(spread)], root / "images" / name)
        lines.append(f"{name},{row // 4:06d}," + ",".join(map(str, values[row])))
    (root / "train.csv").write_text("\n".join(lines))


def module(root: Path, **options: Any) -> CSVDataModule:
    """Return a data module over such a table."""
    return CSVDataModule(str(root), **{"image_dir": "images", "group_column": "patient", "num_workers": 0, **options})


def medians(routes: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """CPU seconds of each route, in turns, after one round that warms up."""
    times: dict[str, list[float]] = {name: [] for name in routes}
    for at in range(rounds + 1):
        for name, route in routes.items():
            start = time.process_time()
            route()
            if at:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def line(what: str, value: str, goal: str = "", reached: bool | None = None) -> None:
    """Print one figure, and whether it reaches its goal."""
    verdict = "" if reached is None else ("reached" if reached else "MISSED")
    print(f"{what:<66}{value:>18}  {goal:<12}{verdict}")


def decoding(folder: Path) -> None:
    """Print speed and fidelity of reading one picture."""
    for side, flag in REDUCED.items():
        paths = [str(folder / f"{side}_{at}.jpg") for at in range(4)]
        path = paths[0]
        read, train = evaluation_transform(SIZE, STRETCH), training_transform(SIZE, "default", STRETCH)

        def bare(path: str, flag: int = flag) -> np.ndarray:
            return cv2.resize(cv2.imread(path, flag), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)

        def pillow(path: str) -> np.ndarray:
            return np.asarray(Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))

        routes: dict[str, Callable[[str], object]] = {
            "bare": bare,
            "ours": lambda path, read=read: read.prepare(read.read(path)),  # type: ignore[misc]
            "train": lambda path, train=train: train(train.read(path)),  # type: ignore[misc]
            "pillow": pillow,
        }
        t = medians({name: partial(route, path) for name, route in routes.items()}, 40)
        print(f"JPEG {side} x {side} to {SIZE} px: " + ", ".join(f"{n} {1 / s:.0f}/s" for n, s in t.items()))
        ratio = t["bare"] / t["ours"]
        line("  decode + resize over bare cv2 reduced decode + linear", f"{ratio:.2f}", ">= 0.9", ratio >= 0.9)
        ratio = t["pillow"] / t["ours"]
        line("  decode + resize over plain PIL", f"{ratio:.2f}", ">= 3", ratio >= 3)
        ratio = t["ours"] / t["train"]
        line("  training pipeline over decode + resize", f"{ratio:.2f}", ">= 0.8", ratio >= 0.8)
        print(f"  PSNR against an antialiased full decode: {fidelity(paths, flag)}")


def fidelity(paths: Sequence[str], flag: int) -> str:
    """In dB, of our reading and of linear resizing of the whole picture."""
    ours, linear = [], []
    read = evaluation_transform(SIZE, STRETCH)
    for path in paths:
        whole = read_image(path)
        reference = np.asarray(Image.fromarray(whole).resize((SIZE, SIZE), Image.Resampling.LANCZOS), float)
        for values, pixels in (
            (ours, read.prepare(read.read(path))[0]),
            (linear, cv2.resize(whole, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)),
        ):
            values.append(20 * np.log10(255 / np.sqrt(((pixels - reference) ** 2).mean())))
    return f"reduced decode {np.mean(ours):.1f} dB, full decode + linear {np.mean(linear):.1f} dB"


def caching(folder: Path) -> None:
    """Print what an epoch from a cache gains, augmentation and batches included."""
    for side in REDUCED:
        root = folder / f"epochs_{side}"
        table(root, [folder / f"{side}_{at}.jpg" for at in range(4)], 48)
        time.sleep(2.1)  # until the cache trusts the files' time stamps
        sets = {}
        for kind in ("none", "memory", "disk"):
            data = module(root, image_size=SIZE, cache=kind, cache_dir=str(folder / "cache"))
            sets[kind] = data.train_set()
        t = medians({kind: partial(_epoch, dataset) for kind, dataset in sets.items()}, 5)
        rates = ", ".join(f"{kind} {32 / seconds:.0f}/s" for kind, seconds in t.items())
        print(f"epoch of JPEG {side} x {side} to {SIZE} px, default augmentation, batches of 16: {rates}")
        for kind in ("memory", "disk"):
            ratio = t["none"] / t[kind]
            line(f"  cached epoch ({kind}) over uncached", f"{ratio:.1f}", ">= 8", ratio >= 8)


def finding(folder: Path) -> None:
    """Print what a new picture costs a disk cache that holds many already: start, memory, and a miss."""
    layout, steps = Layout(2, 0), {"resize": "stretch"}
    names = [str(folder / f"new_{at}") for at in range(100)]
    made = np.zeros((2, 2, 3), np.uint8), []
    for rows in (10_000, 100_000, 1_000_000, 3_500_000):
        where = str(folder / f"cache_{rows}")
        ids = [name.encode() for name in names]
        index = Path(disk_cache.DiskCache(where, layout, steps, ids).folder) / "index.bin"
        entries, rng = np.zeros(10_000, disk_cache._ENTRY), np.random.default_rng(0)
        with index.open("ab") as file:
            for _ in range(rows // len(entries)):
                entries["content"] = rng.integers(1, 2**62, (len(entries), 2))
                entries["check"] = disk_cache._check(entries)
                file.write(entries.tobytes())
        for at, name in enumerate(names):
            Path(name).write_text(f"{rows} {at}")
        before, start = anonymous(os.getpid()), time.process_time()
        cache = disk_cache.DiskCache(where, layout, steps, ids)
        opened, held = time.process_time() - start, anonymous(os.getpid()) - before
        start = time.process_time()
        for at, name in enumerate(names):
            cache.fetch(at, [name], lambda: made)
        missed = (time.process_time() - start) / len(names)
        line(f"disk cache of {rows} pictures: s to open, MB, ms a miss", f"{opened:.2f} {held:.0f} {1000 * missed:.2f}")


def _epoch(dataset: PictureDataset) -> None:
    for at in range(0, 32, 16):
        collate([dataset[row] for row in range(at, at + 16)])


def augmentations() -> None:
    """Print what each step of the default costs, and the dear one that it leaves out."""
    image = photograph(SIZE, 0)
    one = {
        "default": DefaultAugmenter(),
        "flip": Augmenter([A.HorizontalFlip(p=1.0)]),
        "turn, scale, shift (albumentations)": Augmenter([A.Affine(rotate=15, p=1.0)]),
        "brightness, contrast (albumentations)": Augmenter([A.RandomBrightnessContrast(p=1.0)]),
        "hue, saturation (albumentations)": Augmenter([A.HueSaturationValue(p=1.0)]),
        "colour jitter (albumentations)": Augmenter([A.ColorJitter(p=1.0)]),
        "elastic (albumentations)": Augmenter([A.ElasticTransform(p=1.0)]),
    }

    def often(augment: Callable[..., object]) -> None:
        for _ in range(10):
            augment(image, [])

    t = medians({name: partial(often, augment) for name, augment in one.items()}, 30)
    print(f"augmentation of a {SIZE} px picture, CPU ms, each at p=1 but the default as it is")
    for name, seconds in t.items():
        line(f"  {name}", f"{100 * seconds:.2f}")


def waiting(folder: Path, steps: int = 3) -> None:
    """Print how long training resnet18 waits for a warm loader of two workers, wall time."""
    loader = module(folder / "epochs_1000", image_size=224, batch_size=8, num_workers=2).train_dataloader()
    backbone, head = Backbone("resnet18", pretrained=False, image_size=224), GAPHead(512, 14)
    waited = worked = 0.0
    for epoch in range(2):
        batches, start = iter(loader), time.perf_counter()
        for step, batch in enumerate(batches):
            got = time.perf_counter()
            output = head(backbone(batch["image"].float() / 255))
            masked_bce(output.logits, batch["label"]).backward()
            done = time.perf_counter()
            if epoch and step:  # warm
                waited, worked = waited + got - start, worked + done - got
            start = done
            if step == steps:
                break
    share = waited / (waited + worked)
    line("resnet18 at 224 px on the CPU waits for 2 workers, wall time", f"{share:.2%}", "< 2 %", share < 0.02)


def start_up(folder: Path) -> None:
    """Print the time, of this process and on the wall, from a table of the size of ChestX-ray14 to its first batch."""
    root = folder / "large"
    table(root, [folder / "1000_0.jpg"], LARGE)
    gc.collect()
    start, busy = time.perf_counter(), time.process_time()
    data = module(root, image_size=224, batch_size=16, num_workers=2)
    data.setup("fit")
    next(iter(data.train_dataloader()))
    wall, busy = time.perf_counter() - start, time.process_time() - busy
    line(f"first batch of {LARGE} rows, 2 workers, s of CPU (wall)", f"{busy:.2f} ({wall:.2f})", "<= 3", busy <= 3)


def checking(folder: Path) -> None:
    """Print how fast `ibca check` reads every picture in full, and the memory that its rows take."""
    for side, rows in ((256, 20_000), (1000, 1000)):
        root = folder / f"check_{side}"
        source = folder / f"check_{side}.jpg"
        Image.fromarray(photograph(side, 0)).save(source, quality=90)
        table(root, [source], rows)
        held = [0.0, 0.0]

        def watched(batches: Any, split: str, held: list[float] = held) -> Iterator[Any]:
            for at, batch in enumerate(batches):
                if split == "train" and at in (len(batches) // 10, len(batches) - 1):
                    held[at > len(batches) // 10] = anonymous(os.getpid())
                yield batch

        data = module(root)
        start = time.process_time()
        read_contents(data, 0, watched)
        rate = rows / (time.process_time() - start)
        minutes = 100_000 / rate / 60 / 2
        line(f"ibca check, JPEG {side} x {side}: pictures/s on one core", f"{rate:.0f}")
        line("  100,000 of them on two cores, minutes", f"{minutes:.1f}", "<= 10", minutes <= 10)
        line(
            f"  MB after a tenth and after all of {rows}",
            f"{held[0]:.0f} {held[1]:.0f}",
            "flat",
            held[1] < 1.02 * held[0],
        )


def memory(folder: Path, epochs: int = 20) -> None:
    """Print the memory of the loader's processes over the epochs, in MB: own, and shared with files."""
    for kind in ("none", "disk"):
        options = {"cache": kind, "cache_dir": str(folder / "cache")}
        loader = module(
            folder / "epochs_1000", image_size=224, batch_size=16, num_workers=2, **options
        ).train_dataloader()
        held = []
        for _ in range(epochs):
            for _ in loader:
                pass
            workers = loader._iterator._workers  # type: ignore[union-attr]
            held.append(sum(anonymous(worker.pid) for worker in workers) + anonymous(os.getpid()))
        growth = held[-1] / held[2] - 1
        shown = f"{held[0]:.0f} {held[2]:.0f} {held[-1]:.0f}"
        line(f"MB of the loader after epoch 1, 3 and {epochs} (cache: {kind})", shown, "flat", growth < 0.02)


def anonymous(process: int) -> float:
    """Memory of a process that is no file's, in MB."""
    text = Path(f"/proc/{process}/status").read_text()
    return sum(int(row.split()[1]) for row in text.splitlines() if row.startswith(("RssAnon", "RssShmem"))) / 1024


def main() -> None:
    """Print every figure."""
    threads = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    keep_freed_memory()  # as every command does that trains
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for side in REDUCED:
                for at in range(4):
                    Image.fromarray(photograph(side, at)).save(folder / f"{side}_{at}.jpg", quality=90)
            decoding(folder)
            caching(folder)
            finding(folder)
            augmentations()
            checking(folder)
            waiting(folder)
            memory(folder)  # before start_up: what that frees would hide a growth
            start_up(folder)
    finally:
        cv2.setNumThreads(threads[0])
        torch.set_num_threads(threads[1])


if __name__ == "__main__":
    main()
