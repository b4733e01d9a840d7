// Layout: the weights are one matrix of [channels read, channels written] for each point of a tile, in panels of 16
// columns (ops/conv/gemm/panel_gemm.hpp). The workspace holds a block of tiles twice, transformed and multiplied, as
// one matrix of [tiles, channels] for each point.
//
// Loops: blocks of tiles; in a block first all tiles are transformed to points, then the matrices of all points are
// multiplied, then all tiles are transformed back.
#include "ops/conv/winograd/winograd_pass.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "core/simd/simd.hpp"
#include "ops/conv/convolution.hpp"
#include "ops/conv/window.hpp"

namespace pleat {
namespace {

constexpr const char* kName = "conv2d (Winograd)";
constexpr int64_t kMostWeights = 10 * 1024 * 1024;  // bytes, for blocks of a thread's own

// From the direction's input to its output.
template <class T>
Tiling make_tiling(const Nhwc& x, const Conv2d& op, int tile, bool is_forward,
                   const WinogradTransforms<T>& transforms) {
  const Nhwc y = slide(x, op.out, 3, 1, op.pad);
  const int border = transforms.border;
  if (is_forward) return {x, y, op.pad.top - border, op.pad.left - border, tile};
  return {y, x, 2 - op.pad.top - border, 2 - op.pad.left - border, tile};
}

template <class T>
WinogradTransforms<T> find_transforms(const Nhwc& x, const Conv2d& op, int tile) {
  PLEAT_CHECK(WinogradPass<T>::is_supported(op), kName, ": kernel=", op.kernel, " stride=", op.stride,
              " groups=", op.groups, ", expected 3, 1, 1 and a CPU with AVX2");
  return winograd_transforms<T>(tile, are_padded_2x2(x, op.pad));
}

}  // namespace

// Blocks of a thread's own stay in its second-level cache from one transform to the other; but weights are read again
// for each of them, so these must come from the third level. Shared blocks are large, so that weights are read seldom.
Blocks choose_blocks(const Tiling& tiling, int64_t tile_bytes, bool are_weights_small) {
  constexpr int64_t kOwn = 300 * 1024, kShared = 20 * 1024 * 1024;  // bytes, measured on the layers of VGG and ResNet
  const int64_t tiles = tiling.tiles(), threads = num_threads();
  const bool own = are_weights_small && tiles >= 2 * kPanel * threads;
  const int64_t most_tiles = std::max((own ? kOwn : kShared) / tile_bytes / kPanel * kPanel, kPanel);
  const int64_t parts = own ? threads : 1, blocks_per_part = (tiles + most_tiles * parts - 1) / (most_tiles * parts);
  const int64_t blocks = blocks_per_part * parts;
  return {whole_panels((tiles + blocks - 1) / blocks), static_cast<int>(parts)};
}

template <class T>
bool WinogradPass<T>::is_supported(const Conv2d& op) {
  return op.kernel == 3 && op.stride == 1 && op.groups == 1 && has_tile_kernels<T>();
}

template <class T>
WinogradPass<T>::WinogradPass(const Nhwc& x_shape, const Conv2d& op, int tile, Direction direction)
    : direction_(direction),
      transforms_(find_transforms<T>(x_shape, op, tile)),
      tiling_(make_tiling(x_shape, op, tile, direction == Direction::forward, transforms_)),
      rows_(whole_panels(tiling_.in.c)),
      columns_(whole_panels(tiling_.out.c)),
      blocks_(choose_blocks(tiling_, int64_t{sizeof(float)} * transforms_.points() * (rows_ + columns_),
                            int64_t{sizeof(float)} * packed_size() <= kMostWeights)),
      outside_(tiling_.in.c) {}

template <class T>
int64_t WinogradPass<T>::packed_size() const {
  return transforms_.points() * matrix(rows_, columns_);
}
template <class T>
int64_t WinogradPass<T>::block_points() const {
  return transforms_.points() * matrix(blocks_.tiles, std::max(rows_, columns_));
}
template <class T>
int64_t WinogradPass<T>::workspace_size() const {
  return 2 * blocks_.parts * block_points();
}

// To matrices whose rows are the channels that the direction reads, and whose columns are those that it writes.
template <class T>
void WinogradPass<T>::pack(std::span<float> packed, std::span<const float> weight) const {
  const int64_t from = tiling_.in.c, to = tiling_.out.c;
  check_size(kName, "packed", packed.size(), packed_size());
  check_size(kName, "weight", weight.size(), from * to * 9);
  const bool rotated = direction_ == Direction::backward;
  const int64_t row_step = rotated ? 9 * to : 9, column_step = rotated ? 9 : 9 * from;
  parallel_for(columns_ / kPanel, [&](int64_t begin, int64_t end, int) {
    for (int64_t column = begin * kPanel; column < end * kPanel; column += kPanel)
      for (int64_t row = 0; row < rows_; ++row) {
        const bool is_there = row < from;
        const float* filters = weight.data() + (is_there ? row * row_step : 0) + column * column_step;
        const int64_t count = is_there ? std::min(kPanel, to - column) : 0;
        transforms_.weight(packed.data() + column * rows_ + row * kPanel, matrix(rows_, columns_),
                           {filters, column_step, count}, rotated);
      }
  });
}

template <class T>
void WinogradPass<T>::operator()(std::span<T> to, std::span<const T> from, std::span<const float> packed,
                                 const Epilogue& epilogue, std::span<float> workspace) const {
  const bool is_forward = direction_ == Direction::forward;
  check_size(kName, is_forward ? "y" : "dx", to.size(), tiling_.out.size());
  check_size(kName, is_forward ? "x" : "dy", from.size(), tiling_.in.size());
  check_size(kName, "packed", packed.size(), packed_size());
  check_size(kName, "workspace", workspace.size(), workspace_size());
  blocks_.for_each(tiling_, [&](int64_t first, int64_t part, bool) {
    float *transformed = workspace.data() + 2 * part * block_points(), *products = transformed + block_points();
    const auto first_input = [&](int64_t tile) { return tiling_.first_input(first + tile); };
    pixels_to_points(transforms_.input, transforms_.inputs, transformed, from.data(), tiling_.in, first_input,
                     outside_.data(), blocks_);
    multiply_points(transforms_.points(), products, transformed, Transpose::no, packed.data(),
                    {blocks_.tiles, columns_, rows_}, /*accumulate=*/false, blocks_);
    blocks_.for_each_tile([&](int64_t tile) {
      T* pixels[kMostPoints];
      find_pixels<T>(pixels, to.data(), tiling_.out, tiling_.first_output(first + tile), transforms_.outputs, nullptr);
      transforms_.output(pixels, tile_points(products, tile, tiling_.out.c, blocks_), epilogue, tiling_.out.c);
    });
  });
}

template class WinogradPass<float>;
template class WinogradPass<Bf16>;

}  // namespace pleat
