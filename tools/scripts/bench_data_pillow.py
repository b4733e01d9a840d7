#!/usr/bin/env python3
"""Does what Pleat's loader does, with Pillow, numpy and worker processes, and prints pictures a second over a whole epoch.

The transforms are torchvision's for training: RandomResizedCrop(224), RandomHorizontalFlip, ToTensor, Normalize. Batches
are made in memory that the processes share, so that only their numbers are sent.

usage: bench_data_pillow.py FOLDER-OF-CLASS-FOLDERS WORKERS BATCH
"""
import math
import multiprocessing
import random
import sys
import time
from multiprocessing import shared_memory
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 224
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def random_part(width, height):
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2


def transform(out, path):
    with Image.open(path) as file:
        picture = file.convert("RGB")
    picture = picture.crop(random_part(*picture.size)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    values = np.asarray(picture).astype(np.float32)
    values /= 255
    values -= MEAN
    values /= STD
    out[:] = values.transpose(2, 0, 1)


def attach(name, shape):
    global memory, batches
    memory = shared_memory.SharedMemory(name)
    batches = np.ndarray(shape, np.float32, memory.buf)


def make(job):
    slot, paths = job
    for i, path in enumerate(paths):
        transform(batches[slot, i], path)
    return len(paths)


def main(folder, workers, batch):
    paths = sorted(str(path) for path in Path(folder).glob("*/*") if path.suffix.lower() in (".jpeg", ".jpg", ".png"))
    random.shuffle(paths)
    slots = workers + 2
    shape = (slots, batch, 3, SIDE, SIDE)
    shared = shared_memory.SharedMemory(create=True, size=4 * math.prod(shape))
    jobs = [(i // batch % slots, paths[i:i + batch]) for i in range(0, len(paths), batch)]
    with multiprocessing.Pool(workers, attach, (shared.name, shape)) as pool:
        pool.map(make, jobs[:workers])  # starts the processes and touches the memory
        start = time.perf_counter()
        done = sum(pool.imap(make, jobs))
        print(done / (time.perf_counter() - start))
    shared.close()
    shared.unlink()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
