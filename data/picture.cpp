#include "data/picture.hpp"

#include <algorithm>
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
#include <stb_image.h>

namespace pleat {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 256 << 20;
constexpr int64_t kMaxPixels = 64'000'000;

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

}  // namespace

Picture load_picture(const std::string& path, int channels) {
  PLEAT_CHECK(channels == 1 || channels == 3, "picture '", path, "': ", channels, " channels wanted, expected 1 or 3");
  std::error_code error;
  const std::uintmax_t bytes_expected = std::filesystem::file_size(path, error);
  PLEAT_CHECK_FILE(!error, path, error.message());
  PLEAT_CHECK_FILE(bytes_expected <= kMaxFileBytes, path, "is ", bytes_expected, " bytes long, expected at most ",
                   kMaxFileBytes);
  const std::vector<std::byte> file = read_file(path);
  const auto* const bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(file.size());

  int height = 0, width = 0, own_channels = 0;
  PLEAT_CHECK_FILE(stbi_info_from_memory(bytes, size, &width, &height, &own_channels), path,
                   "not a JPEG or PNG picture (", stbi_failure_reason(), ")");
  PLEAT_CHECK_FILE(int64_t{height} * width <= kMaxPixels, path, "picture is ", width, "x", height,
                   ", expected at most ", kMaxPixels, " pixels");
  PLEAT_CHECK_FILE(std::max(height, width) <= kMaxSide, path, "picture is ", width, "x", height, ", expected at most ",
                   kMaxSide, " a side");
  const JpegFile jpeg = is_jpeg({bytes, file.size()}) ? scan_jpeg({bytes, file.size()}) : JpegFile{true};
  PLEAT_CHECK_FILE(jpeg.complete, path, "is a JPEG file that ends too early, after ", size, " bytes");
  const int step = channels == 1 ? 1 : 4;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes, size, &width, &height, &own_channels, step), stbi_image_free);
  PLEAT_CHECK_FILE(pixels != nullptr, path, "cannot be decoded: ", stbi_failure_reason());
  Picture picture{height, width, step, {pixels.get(), pixels.get() + int64_t{height} * width * step}};
  return jpeg.orientation == 1 ? picture : upright(picture, jpeg.orientation);
}

}  // namespace pleat
