#include "ops/winograd.hpp"

#include <algorithm>
#include <cstdint>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "ops/convolution.hpp"
#include "ops/panel_gemm.hpp"
#include "ops/window.hpp"
#include "ops/winograd_tiling.hpp"
#include "ops/winograd_transforms.hpp"

namespace pleat {
namespace {

constexpr const char* kName = "conv2d (Winograd)";
constexpr int64_t kStrip = 4;       // panels that one product works on
constexpr int kMostPoints = 6 * 6;  // of a tile

int64_t divide_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
int64_t whole_panels(int64_t n) {
  return divide_up(n, kPanel) * kPanel;
}

// From one point's matrix, in panels, to the next one's. A line between them keeps the points of a tile from competing
// for the same places in the cache.
int64_t matrix(int64_t rows, int64_t columns) {
  return rows * columns + kPanel;
}

// Blocks of a thread's own stay in its second-level cache from one transform to the other; but weights are read again
// for each of them, so these must come from the third level. Shared blocks are large, so that weights are read seldom.
// Bytes, measured on the layers of VGG and ResNet.
constexpr int64_t kOwnBlock = 300 * 1024, kSharedBlock = 20 * 1024 * 1024;
constexpr int64_t kMostWeights = 10 * 1024 * 1024;       // for blocks of a thread's own
constexpr int64_t kMostGradients = 5 * 1024 * 1024 / 2;  // each thread then has its own sums

Blocks choose_blocks(const Tiling& tiling, int64_t tile_bytes, bool are_weights_small) {
  const int64_t tiles = tiling.tiles(), threads = num_threads();
  const bool own = are_weights_small && tiles >= 2 * kPanel * threads;
  const int64_t most_tiles = std::max((own ? kOwnBlock : kSharedBlock) / tile_bytes / kPanel * kPanel, kPanel);
  const int64_t parts = own ? threads : 1, blocks_per_part = divide_up(tiles, most_tiles * parts);
  return {whole_panels(divide_up(tiles, blocks_per_part * parts)), static_cast<int>(parts)};
}

void check_order(const char* call, bool is_in_order) {
  PLEAT_CHECK(is_in_order, kName, ": ", call, " out of order, or not asked for at construction");
}

}  // namespace

// Everything but pictures is kept as a matrix in panels for each of a tile's points: of a block [tiles, channels], of
// the weights [in, out], or [out, in] for the backward pass.
template <class T>
struct WinogradConv2d<T>::Impl {
  enum class Packed { nothing, forward, backward };

  const Conv2d op;
  const WinogradTransforms<T>& transforms;
  const Tiling forward, backward;
  const int64_t in, out;  // channels, in whole panels
  const ConvPasses passes;
  const int threads = num_threads();
  Blocks blocks, gradient_blocks;  // for convolutions, and for the gradient of the weights
  Packed packed = Packed::nothing;
  bool has_gradients = false;
  std::span<float> caller_dweight, caller_dbias;
  AlignedVector<float> weight;
  AlignedVector<float> left, right;     // of a block, part after part: a factor and the product, or two factors
  AlignedVector<float> dweight, dbias;  // part after part, and thread after thread
  AlignedVector<T> outside;             // zeros: a pixel beyond the borders

  Impl(const Nhwc& x, const Conv2d& op_, int tile, const ConvPasses& passes_, bool trains)
      : op(op_),
        transforms(winograd_transforms<T>(tile, x.h == 2 && x.w == 2 && op.pad == Padding::uniform(1))),
        forward(x, slide(x, op.out, 3, 1, op.pad), op.pad.top - transforms.border, op.pad.left - transforms.border,
                tile),
        backward(forward.out, x, 2 - op.pad.top - transforms.border, 2 - op.pad.left - transforms.border, tile),
        in(whole_panels(x.c)),
        out(whole_panels(op.out)),
        passes(passes_) {
    const int64_t tile_bytes = sizeof(float) * transforms.points() * (in + out);
    const int64_t weight_bytes = sizeof(float) * weight_points();
    blocks = choose_blocks(forward, tile_bytes, weight_bytes <= kMostWeights);
    gradient_blocks = choose_blocks(forward, tile_bytes, weight_bytes <= kMostGradients);
    if (passes.forward || passes.backward_data) weight.resize(weight_points());
    if (trains) {
      left.resize(std::max(half_workspace(), gradient_blocks.parts * block_points(gradient_blocks)));
      right.resize(left.size());
    }
    outside.resize(std::max(x.c, static_cast<int64_t>(op.out)));
    if (passes.backward_weights) dweight.resize(gradient_blocks.parts * weight_points());
    if (passes.backward_weights && op.bias) dbias.resize(threads * op.out);
  }

  int64_t weight_size() const { return op.out * forward.in.c * 9; }
  int64_t bias_size() const { return op.bias ? op.out : 0; }
  int64_t weight_points() const { return transforms.points() * matrix(in, out); }
  int64_t half_workspace() const { return blocks.parts * block_points(blocks); }
  int64_t block_points(const Blocks& b) const { return transforms.points() * matrix(b.tiles, std::max(in, out)); }

  // Transforms the weights to matrices whose rows are the channels that the pass reads, and whose columns are those
  // that it writes. The backward pass is a convolution with the rotated kernel.
  void pack(std::span<const float> values, Packed pass) {
    check_size(kName, "weight", values.size(), weight_size());
    packed = pass;
    const bool rotated = pass == Packed::backward;
    if (rotated && !passes.backward_data) return;
    const int64_t from_out = 9 * forward.in.c, from_in = 9;
    const Tiling& tiling = rotated ? backward : forward;
    const int64_t row_step = rotated ? from_out : from_in, column_step = rotated ? from_in : from_out;
    const int64_t rows = whole_panels(tiling.in.c);
    parallel_for(whole_panels(tiling.out.c) / kPanel, [&](int64_t begin, int64_t end, int) {
      for (int64_t column = begin * kPanel; column < end * kPanel; column += kPanel)
        for (int64_t row = 0; row < rows; ++row) {
          const bool is_there = row < tiling.in.c;
          const float* filters = values.data() + (is_there ? row * row_step : 0) + column * column_step;
          const int64_t count = is_there ? std::min(kPanel, tiling.out.c - column) : 0;
          transforms.weight(weight.data() + column * rows + row * kPanel, matrix(in, out),
                            {filters, column_step, count}, rotated);
        }
    });
  }

  // Transforms a block's tiles of the convolution's input.
  void input_to_points(float* points, const T* image, const Tiling& tiling, const Blocks& b, int64_t first) const {
    b.for_each_tile([&](int64_t tile) {
      const T* pixels[kMostPoints];
      find_pixels(pixels, image, tiling.in, tiling.first_input(first + tile), transforms.inputs, outside.data());
      transforms.input(tile_points(points, tile, tiling.in.c, b), pixels, tiling.in.c);
    });
  }

  // Transforms a block's tiles of the gradient of the convolution's output.
  void gradient_to_points(float* points, const T* image, const Tiling& tiling, const Blocks& b, int64_t first) const {
    b.for_each_tile([&](int64_t tile) {
      const T* pixels[kMostPoints];
      find_pixels(pixels, image, tiling.out, tiling.first_output(first + tile), transforms.outputs, outside.data());
      transforms.gradient(tile_points(points, tile, tiling.out.c, b), pixels, tiling.out.c);
    });
  }

  // Transforms a block's tiles back to the convolution's output.
  void points_to_output(T* image, float* points, const Epilogue& epilogue, const Tiling& tiling, const Blocks& b,
                        int64_t first) const {
    b.for_each_tile([&](int64_t tile) {
      T* pixels[kMostPoints];
      find_pixels<T>(pixels, image, tiling.out, tiling.first_output(first + tile), transforms.outputs, nullptr);
      transforms.output(pixels, tile_points(points, tile, tiling.out.c, b), epilogue, tiling.out.c);
    });
  }

  static TilePoints tile_points(float* points, int64_t tile, int64_t channels, const Blocks& b) {
    return {points + tile * kPanel, matrix(b.tiles, whole_panels(channels)), b.tiles * kPanel};
  }

  // c = a b or c += a b at every point; sizes as in panel_gemm.
  void multiply(float* c, const float* a, Transpose ta, const float* b, int64_t m, int64_t n, int64_t k,
                bool accumulate, const Blocks& work) const {
    const int64_t panels = n / kPanel, strips = divide_up(panels, kStrip);
    work.split_work(transforms.points() * strips, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t point = unit / strips, panel = unit % strips * kStrip;
        panel_gemm(c + point * matrix(m, n) + panel * m * kPanel, a + point * matrix(m, k), ta,
                   b + point * matrix(k, n) + panel * k * kPanel, m, std::min(kStrip, panels - panel), k, accumulate);
      }
    });
  }

  // Forward, or backward to dx. `transformed` and `products` are half a workspace each.
  void convolve(T* to, const T* from, const Epilogue& epilogue, const Tiling& tiling, float* transformed,
                float* products) const {
    const int64_t rows = whole_panels(tiling.in.c), columns = whole_panels(tiling.out.c);
    blocks.for_each(tiling, [&](int64_t first, int64_t part, bool) {
      float *v = transformed + part * block_points(blocks), *m = products + part * block_points(blocks);
      input_to_points(v, from, tiling, blocks, first);
      multiply(m, v, Transpose::no, weight.data(), blocks.tiles, columns, rows, /*accumulate=*/false, blocks);
      points_to_output(to, m, epilogue, tiling, blocks, first);
    });
  }

  // Adds a piece's gradients to dweight, whose parts start with their first block, and dbias, which starts at zero.
  void add_gradients(const T* dy, const T* x) {
    const Blocks& b = gradient_blocks;
    b.for_each(forward, [&](int64_t first, int64_t part, bool is_first) {
      float *v = left.data() + part * block_points(b), *d = right.data() + part * block_points(b);
      input_to_points(v, x, forward, b, first);
      gradient_to_points(d, dy, forward, b, first);
      multiply(dweight.data() + part * weight_points(), v, Transpose::yes, d, in, out, b.tiles,
               /*accumulate=*/has_gradients || !is_first, b);
    });
    parallel_for(op.bias ? threads : 0, [&](int64_t begin, int64_t end, int) {
      for (int64_t thread = begin; thread < end; ++thread) {
        const Range pixels = split(forward.out.pixels(), static_cast<int>(thread), threads);
        add_rows(dbias.data() + thread * op.out, dy + pixels.begin * op.out, pixels.end - pixels.begin, op.out);
      }
    });
    has_gradients = true;
  }

  // Adds the parts up, in order, and transforms their sum.
  void take_gradients() {
    parallel_for(weight_points(), [&](int64_t begin, int64_t end, int) {
      for (int part = 1; part < gradient_blocks.parts; ++part)
        add_rows<float>(dweight.data() + begin, dweight.data() + part * weight_points() + begin, 1, end - begin);
    });
    const int64_t filter = 9 * forward.in.c;
    parallel_for(out / kPanel, [&](int64_t begin, int64_t end, int) {
      for (int64_t o = begin * kPanel; o < end * kPanel; o += kPanel)
        for (int64_t i = 0; i < forward.in.c; ++i)
          transforms.weight_gradient({caller_dweight.data() + o * filter + i * 9, filter, std::min(kPanel, op.out - o)},
                                     dweight.data() + o * in + i * kPanel, matrix(in, out));
    });
    if (op.bias) add_rows<float>(caller_dbias.data(), dbias.data(), threads, op.out);
    has_gradients = false;
  }
};

template <class T>
WinogradConv2d<T>::WinogradConv2d(const Nhwc& x_shape, const Conv2d& op, int tile, const ConvPasses& passes,
                                  bool trains) {
  PLEAT_CHECK(op.kernel == 3 && op.stride == 1 && op.groups == 1, kName, ": kernel=", op.kernel, " stride=", op.stride,
              " groups=", op.groups, ", expected 3, 1, 1");
  impl_ = std::make_unique<Impl>(x_shape, op, tile, passes, trains);
}
template <class T>
WinogradConv2d<T>::~WinogradConv2d() = default;

template <class T>
void WinogradConv2d<T>::begin_forward(std::span<const float> weight) {
  impl_->pack(weight, Impl::Packed::forward);
}

template <class T>
void WinogradConv2d<T>::forward(std::span<T> y, std::span<const T> x, std::span<const float> bias) {
  check_order("forward", impl_->packed == Impl::Packed::forward && impl_->passes.forward);
  check_size(kName, "y", y.size(), impl_->forward.out.size());
  check_size(kName, "x", x.size(), impl_->forward.in.size());
  check_size(kName, "bias", bias.size(), impl_->bias_size());
  impl_->convolve(y.data(), x.data(), {.bias = bias.empty() ? nullptr : bias.data()}, impl_->forward,
                  impl_->left.data(), impl_->right.data());
}

template <class T>
int64_t WinogradConv2d<T>::workspace_size() const {
  return 2 * impl_->half_workspace();
}

template <class T>
void WinogradConv2d<T>::infer(std::span<T> y, std::span<const T> x, const Epilogue& epilogue,
                              std::span<float> workspace) const {
  check_order("infer", impl_->packed == Impl::Packed::forward && impl_->passes.forward);
  check_size(kName, "y", y.size(), impl_->forward.out.size());
  check_size(kName, "x", x.size(), impl_->forward.in.size());
  check_size(kName, "workspace", workspace.size(), workspace_size());
  impl_->convolve(y.data(), x.data(), epilogue, impl_->forward, workspace.data(),
                  workspace.data() + impl_->half_workspace());
}

template <class T>
void WinogradConv2d<T>::begin_backward(std::span<const float> weight, std::span<float> dweight,
                                       std::span<float> dbias) {
  check_order("begin_backward", impl_->passes.backward_data || impl_->passes.backward_weights);
  check_size(kName, "dweight", dweight.size(), impl_->weight_size());
  check_size(kName, "dbias", dbias.size(), impl_->bias_size());
  impl_->pack(weight, Impl::Packed::backward);
  impl_->caller_dweight = dweight;
  impl_->caller_dbias = dbias;
  impl_->has_gradients = false;
  std::fill(impl_->dbias.begin(), impl_->dbias.end(), 0.0f);
}

template <class T>
void WinogradConv2d<T>::backward_data(std::span<T> dx, std::span<const T> dy) {
  check_order("backward_data", impl_->packed == Impl::Packed::backward && impl_->passes.backward_data);
  check_size(kName, "dx", dx.size(), impl_->backward.out.size());
  check_size(kName, "dy", dy.size(), impl_->backward.in.size());
  impl_->convolve(dx.data(), dy.data(), {}, impl_->backward, impl_->left.data(), impl_->right.data());
}

template <class T>
void WinogradConv2d<T>::backward_weights(std::span<const T> dy, std::span<const T> x) {
  check_order("backward_weights", impl_->packed == Impl::Packed::backward && impl_->passes.backward_weights);
  check_size(kName, "dy", dy.size(), impl_->forward.out.size());
  check_size(kName, "x", x.size(), impl_->forward.in.size());
  impl_->add_gradients(dy.data(), x.data());
}

template <class T>
void WinogradConv2d<T>::end_backward() {
  check_order("end_backward", impl_->has_gradients);
  impl_->take_gradients();
}

template class WinogradConv2d<float>;
template class WinogradConv2d<Bf16>;

}  // namespace pleat
