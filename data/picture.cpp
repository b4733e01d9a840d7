#include "data/picture.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "core/check.hpp"
#include "core/file.hpp"

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
constexpr int kMaxSide = 1 << 16;

// Weights in fixed point, as Pillow keeps them: sums of bytes times weights fit 32 bits.
constexpr int kWeightBits = 22;

// For each output position the first input position it reads and the weights from there on.
struct Filter {
  struct Taps {
    int first, count;
  };
  std::vector<Taps> taps;
  std::vector<int32_t> weights;  // `stride` for each output position
  int stride;
};

Filter triangle_filter(int in, int out) {
  const double scale = static_cast<double>(in) / out, support = std::max(scale, 1.0);
  Filter filter;
  filter.stride = 2 * static_cast<int>(std::ceil(support)) + 1;
  filter.weights.assign(static_cast<std::size_t>(out) * filter.stride, 0);
  std::vector<double> weights(filter.stride);
  for (int o = 0; o < out; ++o) {
    const double centre = (o + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int count = std::min(in, static_cast<int>(centre + support + 0.5)) - first;
    double sum = 0;
    for (int i = 0; i < count; ++i)
      sum += weights[i] = std::max(0.0, 1 - std::abs((i + first - centre + 0.5) / support));
    for (int i = 0; i < count; ++i)
      filter.weights[static_cast<std::size_t>(o) * filter.stride + i] =
          static_cast<int32_t>(weights[i] / sum * (1 << kWeightBits) + 0.5);
    filter.taps.push_back({first, count});
  }
  return filter;
}

// Filters `lines` lines: position p of line l starts at in[l * line_step + p * step] and has `width` neighbouring bytes
// that are filtered alike (the channels for a row, a whole row for a column).
void apply(std::span<uint8_t> out, std::span<const uint8_t> in, const Filter& filter, int64_t lines, int64_t in_length,
           int64_t width) {
  const int64_t out_length = static_cast<int64_t>(filter.taps.size());
  std::vector<int32_t> sums(width);
  for (int64_t line = 0; line < lines; ++line)
    for (int64_t o = 0; o < out_length; ++o) {
      std::fill(sums.begin(), sums.end(), 1 << (kWeightBits - 1));  // rounds to nearest
      for (int t = 0; t < filter.taps[o].count; ++t) {
        const int32_t weight = filter.weights[o * filter.stride + t];
        const uint8_t* const from = in.data() + (line * in_length + filter.taps[o].first + t) * width;
        for (int64_t i = 0; i < width; ++i) sums[i] += from[i] * weight;
      }
      uint8_t* const to = out.data() + (line * out_length + o) * width;
      for (int64_t i = 0; i < width; ++i) to[i] = static_cast<uint8_t>(std::clamp(sums[i] >> kWeightBits, 0, 255));
    }
}

void check_picture(std::span<const uint8_t> picture, int height, int width, int channels, int out_height,
                   int out_width) {
  for (int side : {height, width, out_height, out_width})
    PLEAT_CHECK(side >= 1 && side <= kMaxSide, "resize: a side is ", side, ", expected 1 to ", kMaxSide);
  PLEAT_CHECK(channels >= 1 && static_cast<int64_t>(picture.size()) == int64_t{height} * width * channels,
              "resize: got ", picture.size(), " bytes, expected ", height, "x", width, "x", channels);
}

}  // namespace

std::vector<uint8_t> load_picture(const std::string& path, int& height, int& width, int channels) {
  PLEAT_CHECK(channels == 1 || channels == 3, "picture '", path, "': ", channels, " channels wanted, expected 1 or 3");
  std::error_code error;
  const std::uintmax_t bytes_expected = std::filesystem::file_size(path, error);
  PLEAT_CHECK_FILE(!error, path, error.message());
  PLEAT_CHECK_FILE(bytes_expected <= kMaxFileBytes, path, "is ", bytes_expected, " bytes long, expected at most ",
                   kMaxFileBytes);
  const std::vector<std::byte> file = read_file(path);
  const auto* const bytes = reinterpret_cast<const stbi_uc*>(file.data());
  const int size = static_cast<int>(file.size());

  int own_channels = 0;
  PLEAT_CHECK_FILE(stbi_info_from_memory(bytes, size, &width, &height, &own_channels), path,
                   "not a JPEG or PNG picture (", stbi_failure_reason(), ")");
  PLEAT_CHECK_FILE(int64_t{height} * width <= kMaxPixels, path, "picture is ", width, "x", height,
                   ", expected at most ", kMaxPixels, " pixels");
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes, size, &width, &height, &own_channels, channels), stbi_image_free);
  PLEAT_CHECK_FILE(pixels != nullptr, path, "cannot be decoded: ", stbi_failure_reason());
  return {pixels.get(), pixels.get() + int64_t{height} * width * channels};
}

std::vector<uint8_t> resize(std::span<const uint8_t> picture, int height, int width, int channels, int out_height,
                            int out_width) {
  check_picture(picture, height, width, channels, out_height, out_width);
  std::vector<uint8_t> wide(picture.begin(), picture.end());
  if (out_width != width) {
    wide.resize(int64_t{height} * out_width * channels);
    apply(wide, picture, triangle_filter(width, out_width), height, width, channels);
  }
  if (out_height == height) return wide;
  std::vector<uint8_t> out(int64_t{out_height} * out_width * channels);
  apply(out, wide, triangle_filter(height, out_height), 1, height, int64_t{out_width} * channels);
  return out;
}

std::vector<uint8_t> fit_picture(std::span<const uint8_t> picture, int height, int width, int channels, int out_height,
                                 int out_width, double crop) {
  check_picture(picture, height, width, channels, out_height, out_width);
  PLEAT_CHECK(crop > 0 && crop <= 1, "fit_picture: crop is ", crop, ", expected more than 0, at most 1");
  const double scale = std::max(out_height / crop / height, out_width / crop / width);
  const int scaled_height =
      std::max(out_height, static_cast<int>(height * scale + 1e-6));  // rounded down, as torchvision does
  const int scaled_width = std::max(out_width, static_cast<int>(width * scale + 1e-6));
  const std::vector<uint8_t> scaled = resize(picture, height, width, channels, scaled_height, scaled_width);

  const int64_t top = std::lrint((scaled_height - out_height) / 2.0),
                left = std::lrint((scaled_width - out_width) / 2.0);
  std::vector<uint8_t> out;
  for (int y = 0; y < out_height; ++y) {
    const auto row = scaled.begin() + ((top + y) * scaled_width + left) * channels;
    out.insert(out.end(), row, row + int64_t{out_width} * channels);
  }
  return out;
}

}  // namespace pleat
