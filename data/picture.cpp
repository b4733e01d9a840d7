#include "data/picture.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "core/check.hpp"
#include "core/file.hpp"
#include "data/jpeg.hpp"
#include "data/resample.hpp"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
// Zeroed: version 2.27 (Debian 12's) decodes by tables that a broken file has not filled.
#define STBI_MALLOC(size) std::calloc(1, size)
#define STBI_REALLOC(memory, size) std::realloc(memory, size)
#define STBI_FREE(memory) std::free(memory)
#include <stb_image.h>

namespace pleat {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 256 << 20;

// EXIF's eight: from 5 on rows and columns change places, and then both may be mirrored.
Picture upright(const Picture& picture, int orientation) {
  const bool turned = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Picture out{turned ? picture.width : picture.height, turned ? picture.height : picture.width, picture.step, {}};
  out.bytes.resize(picture.bytes.size());
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x) {
      const int row = turned ? x : y, column = turned ? y : x;
      const int64_t from = int64_t{flip_y ? picture.height - 1 - row : row} * picture.width +
                           (flip_x ? picture.width - 1 - column : column);
      std::copy_n(picture.bytes.data() + from * picture.step, picture.step,
                  out.bytes.data() + (int64_t{y} * out.width + x) * picture.step);
    }
  return out;
}

// The decoder's reason, which may quote the file's bytes.
std::string failure() {
  std::string reason = stbi_failure_reason();
  std::replace_if(
      reason.begin(), reason.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return reason;
}

}  // namespace

Picture load_picture(const std::string& path, int channels) {
  std::error_code error;
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  PLEAT_CHECK_FILE(!error, path, error.message());
  PLEAT_CHECK_FILE(bytes <= kMaxFileBytes, path, "is ", bytes, " bytes long, expected at most ", kMaxFileBytes);
  return decode_picture(read_file(path), path, channels);
}

Picture decode_picture(std::span<const std::byte> file, const std::string& name, int channels, int64_t most_pixels) {
  PLEAT_CHECK(channels == 1 || channels == 3, "picture '", name, "': ", channels, " channels wanted, expected 1 or 3");
  const auto* const bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(file.size());

  // Before the decoder sees any of it.
  const JpegFile jpeg = is_jpeg({bytes, file.size()}) ? scan_jpeg({bytes, file.size()}) : JpegFile{};
  PLEAT_CHECK_FILE(jpeg.fault.empty(), name, "is a JPEG file that ", jpeg.fault, " (it has ", size, " bytes)");
  int height = 0, width = 0, own_channels = 0;
  PLEAT_CHECK_FILE(stbi_info_from_memory(bytes, size, &width, &height, &own_channels), name,
                   "not a JPEG or PNG picture (", failure(), ")");
  PLEAT_CHECK_FILE(int64_t{height} * width <= most_pixels, name, "picture is ", width, "x", height,
                   ", expected at most ", most_pixels, " pixels");
  PLEAT_CHECK_FILE(std::max(height, width) <= kMaxSide, name, "picture is ", width, "x", height, ", expected at most ",
                   kMaxSide, " a side");
  const int step = channels == 1 ? 1 : 4;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes, size, &width, &height, &own_channels, step), stbi_image_free);
  PLEAT_CHECK_FILE(pixels != nullptr, name, "cannot be decoded: ", failure());
  Picture picture{height, width, step, {pixels.get(), pixels.get() + int64_t{height} * width * step}};
  return jpeg.orientation == 1 ? picture : upright(picture, jpeg.orientation);
}

}  // namespace pleat
