// Pictures from JPEG, PNG, BMP, PPM and PGM files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pleat {

/// Pixels row by row, `step` bytes each: the channels first, then what means nothing.
struct Pixels {
  int height = 0, width = 0, step = 0;
  std::span<const uint8_t> bytes;  ///< [height, width, step]
};

/// The same with bytes of its own.
struct Picture {
  int height = 0, width = 0, step = 0;
  std::vector<uint8_t> bytes;
  Pixels pixels() const { return {height, width, step, bytes}; }
};

inline constexpr int64_t kMostPixels = 64'000'000;  ///< Of a picture.

/// Decodes a picture file as it is meant to be seen, turned as its Exif or XMP data say: `channels` 1 gives grey of
/// step 1, 3 gives colour of step 4, which vectors like better; transparency is dropped, and so is the lower byte of 16
/// bits. Throws std::runtime_error naming the file and the reason: for other formats, files that are damaged or end too
/// early, files beyond 256 MB, and pictures beyond kMostPixels or 65536 a side, before they are decoded.
Picture load_picture(const std::string& path, int channels);

/// The same from a file's bytes; `name` stands for the file in errors.
Picture decode_picture(std::span<const std::byte> file, const std::string& name, int channels,
                       int64_t most_pixels = kMostPixels);

}  // namespace pleat
