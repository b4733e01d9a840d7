#!/usr/bin/env python3
"""Compares decoded pictures with Pillow's, for tools/scripts/check_pictures.sh.

usage: check_pictures.py LIST PIXELS      LIST: the files' names, one a line; PIXELS: for each of them three int32 and
bytes: 1, height, width and the RGB values, or 0, the length of the error, 0 and its text

Ends with the line `N equal, N refused by both, N not supported, N explained, N failed`; exits 1 if any failed.
"""
import struct
import sys
import warnings

import numpy as np
from PIL import Image, ImageOps


# Where Pillow and Pleat differ for a reason: the end of the name, and why.
EXPLAINED = {
    "apng/chunk_no_fctl.png": "a fault of the animation; the picture shown where none is possible is whole",
    "png_decompression_dos.png": "Pillow refuses for a huge text, which Pleat passes over",
    "unknown_compression_method.png": "a fault of the colour profile, which Pleat passes over",
    "hopper_bad_exif.jpg": "damaged pixels (bad Huffman codes), of which Pillow shows stripes",
    "b/badpalettesize.bmp": "the header's number of colours is wrong, but not needed",
    "b/badplanes.bmp": "a wrong header, which Pillow does not look at",
    "b/pal8badindex.bmp": "pixels of colours that the palette does not have",
    "mmap_error.bmp": "pixels of colours that the palette does not have",
    "rgb32bf.bmp": "bits of colours that Pillow does not know", "rgb16-231.bmp": "the same", "rgba16-4444.bmp": "the same",
}
# Whole kinds that Pleat refuses by name.
NOT_SUPPORTED = ("of compression", "of OS/2's kind", "is a PNM (", "bad offset", "unknown image type", "invalid",
                 "is arithmetic-coded", "colours a pixel, which is not supported")


def pillow_pixels(path):
    with Image.open(path) as picture:
        picture.load()
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):  # 16 bits, of which Pillow's conversion clips what is above 255
            return np.repeat((np.asarray(picture) >> 8).astype(np.uint8)[..., None], 3, axis=2)
        return np.asarray(picture.convert("RGB"))


def read_results(path, count):
    with open(path, "rb") as file:
        for _ in range(count):
            ok, a, b = struct.unpack("<iii", file.read(12))
            if ok:
                yield np.frombuffer(file.read(a * b * 3), np.uint8).reshape(a, b, 3), None
            else:
                yield None, file.read(a).decode()


def main(list_file, pixels_file):
    warnings.simplefilter("ignore")
    paths = open(list_file).read().splitlines()
    counts = {"equal": 0, "refused by both": 0, "not supported": 0, "explained": 0, "failed": 0}
    for path, (ours, error) in zip(paths, read_results(pixels_file, len(paths))):
        try:
            theirs, their_error = pillow_pixels(path), None
        except Exception as reason:  # Pillow raises many kinds
            theirs, their_error = None, repr(reason)
        if error and their_error:
            result, text = "refused by both", ""
        elif error:
            result, text = "failed", f"refused{error.removeprefix(path)}"
            if any(reason in error for reason in NOT_SUPPORTED):
                result = "not supported"
        elif their_error:
            result, text = "failed", f"read, but Pillow: {their_error}"
        elif ours.shape != theirs.shape:
            result, text = "failed", f"size {ours.shape}, Pillow {theirs.shape}"
        else:
            difference = np.abs(ours.astype(int) - theirs)
            # A BMP file's 5 bits of a colour become 8 with another rounding.
            result = "equal" if difference.max(initial=0) <= path.endswith(".bmp") else "failed"
            text = f"mean difference {difference.mean():.2f}, greatest {difference.max()}"
        if result == "failed" and any(path.endswith(end) for end in EXPLAINED):
            result = "explained"
        counts[result] += 1
        if result == "failed":
            print(f"{path}: {text}")
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return counts["failed"] > 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2]))
