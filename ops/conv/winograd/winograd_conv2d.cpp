// Forward and backward to the input are passes of ops/conv/winograd/winograd_pass.hpp. The gradient of the weights is
// summed up at the points: for each block of tiles, x and dy are transformed and multiplied there. The sums of all
// pieces of a batch, one set for each part of the work, are transformed back once, at the end of the batch.
#include "ops/conv/winograd/winograd_conv2d.hpp"

#include <algorithm>
#include <cstdint>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "ops/conv/convolution.hpp"
#include "ops/conv/winograd/winograd_pass.hpp"

namespace pleat {
namespace {

constexpr const char* kName = "conv2d (Winograd)";
constexpr int64_t kMostGradients = 5 * 1024 * 1024 / 2;  // bytes; each thread then has its own sums

void check_order(const char* call, bool is_in_order) {
  PLEAT_CHECK(is_in_order, kName, ": ", call, " out of order, or not asked for at construction");
}

}  // namespace

template <class T>
struct WinogradConv2d<T>::Impl {
  enum class Packed { nothing, forward, backward };

  const Conv2d op;
  const ConvPasses passes;
  const WinogradPass<T> forward, backward;
  const WinogradTransforms<T>& transforms;
  const WinogradGradients<T> gradients;
  const Tiling tiling;
  const int64_t in, out;  // channels, in whole panels
  const Blocks blocks;    // for the gradient of the weights
  const int threads = num_threads();
  Packed packed = Packed::nothing;
  bool has_gradients = false;
  std::span<float> caller_dweight, caller_dbias;
  AlignedVector<float> weight, workspace;
  AlignedVector<float> dweight, dbias;  // part after part, and thread after thread
  AlignedVector<T> outside;             // zeros: a pixel beyond the borders

  Impl(const Nhwc& x, const Conv2d& op_, int tile, const ConvPasses& passes_)
      : op(op_),
        passes(passes_),
        forward(x, op, tile),
        backward(x, op, tile, WinogradPass<T>::Direction::backward),
        transforms(forward.transforms()),
        gradients(winograd_gradients<T>(tile, are_padded_2x2(x, op.pad))),
        tiling(forward.tiling()),
        in(whole_panels(x.c)),
        out(whole_panels(op.out)),
        blocks(choose_blocks(tiling, int64_t{sizeof(float)} * transforms.points() * (in + out),
                             int64_t{sizeof(float)} * forward.packed_size() <= kMostGradients)) {
    if (passes.forward || passes.backward_data) weight.resize(forward.packed_size());
    const int64_t sizes[] = {passes.forward ? forward.workspace_size() : 0,
                             passes.backward_data ? backward.workspace_size() : 0,
                             passes.backward_weights ? 2 * blocks.parts * block_points() : 0};
    workspace.resize(*std::ranges::max_element(sizes));
    if (!passes.backward_weights) return;
    outside.resize(std::max<int64_t>(x.c, op.out));
    dweight.resize(blocks.parts * forward.packed_size());
    if (op.bias) dbias.resize(threads * op.out);
  }

  int64_t weight_size() const { return op.out * tiling.in.c * 9; }
  int64_t bias_size() const { return op.bias ? op.out : 0; }
  int64_t block_points() const { return transforms.points() * matrix(blocks.tiles, std::max(in, out)); }

  // Both directions' weights take the same place, one at a time.
  void pack(const WinogradPass<T>& pass, std::span<const float> values, Packed as, bool is_used) {
    check_size(kName, "weight", values.size(), weight_size());
    packed = as;
    if (is_used) pass.pack(weight, values);
  }

  void run(const WinogradPass<T>& pass, std::span<T> to, std::span<const T> from, const Epilogue& epilogue) {
    pass(to, from, weight, epilogue, std::span(workspace).first(pass.workspace_size()));
  }

  // Adds a piece's gradients to dweight, whose parts start with their first block, and dbias, which starts at zero.
  void add_gradients(const T* dy, const T* x) {
    blocks.for_each(tiling, [&](int64_t first, int64_t part, bool is_first) {
      float *v = workspace.data() + 2 * part * block_points(), *d = v + block_points();
      const auto first_input = [&](int64_t tile) { return tiling.first_input(first + tile); };
      const auto first_output = [&](int64_t tile) { return tiling.first_output(first + tile); };
      pixels_to_points(transforms.input, transforms.inputs, v, x, tiling.in, first_input, outside.data(), blocks);
      pixels_to_points(gradients.gradient, transforms.outputs, d, dy, tiling.out, first_output, outside.data(), blocks);
      multiply_points(transforms.points(), dweight.data() + part * forward.packed_size(), v, Transpose::yes, d,
                      {in, out, blocks.tiles}, /*accumulate=*/has_gradients || !is_first, blocks);
    });
    parallel_for(op.bias ? threads : 0, [&](int64_t begin, int64_t end, int) {
      for (int64_t thread = begin; thread < end; ++thread) {
        const Range pixels = split(tiling.out.pixels(), static_cast<int>(thread), threads);
        add_rows(dbias.data() + thread * op.out, dy + pixels.begin * op.out, pixels.end - pixels.begin, op.out);
      }
    });
    has_gradients = true;
  }

  // Adds the parts up, in order, and transforms their sum.
  void take_gradients() {
    const int64_t size = forward.packed_size(), filter = 9 * tiling.in.c;
    parallel_for(size, [&](int64_t begin, int64_t end, int) {
      for (int part = 1; part < blocks.parts; ++part)
        add_rows<float>(dweight.data() + begin, dweight.data() + part * size + begin, 1, end - begin);
    });
    parallel_for(out / kPanel, [&](int64_t begin, int64_t end, int) {
      for (int64_t o = begin * kPanel; o < end * kPanel; o += kPanel)
        for (int64_t i = 0; i < tiling.in.c; ++i)
          gradients.weight_gradient({caller_dweight.data() + o * filter + i * 9, filter, std::min(kPanel, op.out - o)},
                                    dweight.data() + o * in + i * kPanel, matrix(in, out));
    });
    if (op.bias) add_rows<float>(caller_dbias.data(), dbias.data(), threads, op.out);
    has_gradients = false;
  }
};

template <class T>
WinogradConv2d<T>::WinogradConv2d(const Nhwc& x_shape, const Conv2d& op, int tile, const ConvPasses& passes)
    : impl_(std::make_unique<Impl>(x_shape, op, tile, passes)) {}
template <class T>
WinogradConv2d<T>::~WinogradConv2d() = default;

template <class T>
void WinogradConv2d<T>::begin_forward(std::span<const float> weight) {
  impl_->pack(impl_->forward, weight, Impl::Packed::forward, impl_->passes.forward);
}

template <class T>
void WinogradConv2d<T>::forward(std::span<T> y, std::span<const T> x, std::span<const float> bias,
                                const Piece& /*piece*/) {
  check_order("forward", impl_->packed == Impl::Packed::forward && impl_->passes.forward);
  check_size(kName, "bias", bias.size(), impl_->bias_size());
  impl_->run(impl_->forward, y, x, {.bias = bias.empty() ? nullptr : bias.data()});
}

template <class T>
void WinogradConv2d<T>::begin_backward(std::span<const float> weight, std::span<float> dweight,
                                       std::span<float> dbias) {
  check_order("begin_backward", impl_->passes.backward_data || impl_->passes.backward_weights);
  check_size(kName, "dweight", dweight.size(), impl_->weight_size());
  check_size(kName, "dbias", dbias.size(), impl_->bias_size());
  impl_->pack(impl_->backward, weight, Impl::Packed::backward, impl_->passes.backward_data);
  impl_->caller_dweight = dweight;
  impl_->caller_dbias = dbias;
  impl_->has_gradients = false;
  std::fill(impl_->dbias.begin(), impl_->dbias.end(), 0.0f);
}

template <class T>
void WinogradConv2d<T>::backward_data(std::span<T> dx, std::span<const T> dy, const Piece& /*piece*/) {
  check_order("backward_data", impl_->packed == Impl::Packed::backward && impl_->passes.backward_data);
  impl_->run(impl_->backward, dx, dy, {});
}

template <class T>
void WinogradConv2d<T>::backward_weights(std::span<const T> dy, std::span<const T> x, const Piece& /*piece*/) {
  check_order("backward_weights", impl_->packed == Impl::Packed::backward && impl_->passes.backward_weights);
  check_size(kName, "dy", dy.size(), impl_->tiling.out.size());
  check_size(kName, "x", x.size(), impl_->tiling.in.size());
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
