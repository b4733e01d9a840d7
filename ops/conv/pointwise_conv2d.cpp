#include "ops/conv/pointwise_conv2d.hpp"

#include <algorithm>
#include <utility>

#include "core/check.hpp"
#include "core/parallel.hpp"
#include "core/simd/instruction_set.hpp"
#include "ops/conv/convolution.hpp"
#include "ops/conv/gemm/outer_product.hpp"
#include "ops/conv/window.hpp"
#include "ops/convert.hpp"

namespace pleat {
namespace {

constexpr const char* kName = "conv2d (product)";

// Pixels that the products' tiles divide.
constexpr int64_t kTile = 28;

}  // namespace

template <class T>
bool PointwiseConv2d<T>::is_supported(const Nhwc& x, const Conv2d& op) {
  const auto fits = [](int64_t channels) { return channels % 8 == 0 && channels > 8; };
  return is_pointwise(op) && !op.bias && fits(x.c) && fits(op.out) &&
         (x.c % kPanelWidth == 0 || op.out % kPanelWidth == 0) && has_tile_kernels<T>();
}

template <class T>
PointwiseConv2d<T>::PointwiseConv2d(const Nhwc& x, const Conv2d& op, const ConvPasses& passes)
    : passes_(passes),
      pixels_(x.pixels()),
      in_(x.c),
      out_(op.out),
      turned_(x.c % kPanelWidth != 0 || (op.out % kPanelWidth == 0 && op.out > x.c)) {
  PLEAT_CHECK(
      is_supported(x, op), kName, ": kernel ", op.kernel, ", stride ", op.stride, ", ", x.c, " to ", op.out,
      " channels; expected 1, 1, multiples of 8 above 8, one of 16, no padding, groups or bias, and a CPU with AVX2");
  packed_.resize(std::max(packed_size(packing<T>(out_, in_), in_), packed_size(packing<T>(in_, out_), out_)));
  if constexpr (!std::is_same_v<T, float>) rounded_.resize(in_ * out_);
  zeros_.resize(std::max(panels_of(in_), panels_of(out_)) * kPanelWidth);
  if (!passes.backward_weights) return;
  sums_.resize(num_threads() * in_ * out_);
  if constexpr (!std::is_same_v<T, float>)
    interleaved_.resize(num_threads() * chunk() * (in_ + out_)), zero_pixel_.resize(std::max(in_, out_));
}

template <class T>
ConvHooks PointwiseConv2d<T>::take_hooks(ConvHooks offered) {
  const auto take = [](PixelHook& hook, PixelHook& from) { std::swap(hook, from); };
  if (passes_.forward) {
    take(hooks_.x, offered.x);
    take(hooks_.y, offered.y);
  }
  if (passes_.backward_weights) {
    take(hooks_.x_again, offered.x_again);
    take(hooks_.dy, offered.dy);
  }
  if (passes_.backward_data) take(hooks_.dx, offered.dx);
  return offered;
}

// to [pixels, out] = from [pixels, in] times the packed weights.
template <class T>
void PointwiseConv2d<T>::multiply_packed(T* to, const T* from, int64_t pixels, int64_t in, int64_t out) const {
  const auto [whole, tail] = packing<T>(out, in);
  const int64_t panel = in * kPanelWidth;
  const Panels<T> weights{packed_.data(), panel, whole, tail ? packed_.data() + whole * panel : nullptr};
  Sums sums{zeros_.data(), 0, nullptr, 0, out, {}};
  sums.send(to);
  multiply(Pixels<T>{from, 1, pixels, 0, in}, weights, in, sums, weights);
}

// Calls body(first pixel, last pixel, thread) for chunks of at most so many pixels, none cut within a tile.
template <class T>
template <class Body>
void PointwiseConv2d<T>::for_chunks(int64_t most, const Body& body) const {
  const int64_t step = std::max<int64_t>(1, most / kTile) * kTile;
  parallel_for((pixels_ + kTile - 1) / kTile, [&](int64_t first, int64_t last, int thread) {
    const int64_t end = std::min(last * kTile, pixels_);
    for (int64_t p = first * kTile; p < end; p += step) body(p, std::min(p + step, end), thread);
  });
}

// For y; turned, for dx.
template <class T>
void PointwiseConv2d<T>::pack(std::span<const float> weight, bool turned) {
  check_size(kName, "weight", weight.size(), in_ * out_);
  const auto from = [&](const auto* data) {
    using W = std::remove_cvref_t<decltype(*data)>;
    const PointwiseWeights<W> as_is{data, out_, in_, in_, 1}, other{data, in_, out_, 1, in_};
    const int64_t k = turned ? out_ : in_;
    pack_panels<T>(packed_, turned ? other : as_is, k, packing<T>(turned ? in_ : out_, k));
  };
  if constexpr (std::is_same_v<T, float>) {
    from(weight.data());
  } else {
    convert<T, float>(rounded_, weight);
    from(rounded_.data());
  }
}

template <class T>
void PointwiseConv2d<T>::begin_forward(std::span<const float> weight) {
  pack(weight, false);
}

template <class T>
void PointwiseConv2d<T>::forward(std::span<T> y, std::span<const T> x, std::span<const float> bias,
                                 const Piece& piece) {
  check_size(kName, "bias", bias.size(), 0);
  check_size(kName, "x", x.size(), pixels_ * in_);
  check_size(kName, "y", y.size(), pixels_ * out_);
  // Pixels that stay in the second-level cache while all weights pass by, and until the hooks were called.
  const int64_t near = (384 << 10) / ((in_ + out_) * int64_t{sizeof(T)});
  const PieceHooks hooks(hooks_, piece);
  for_chunks(near, [&](int64_t begin, int64_t end, int thread) {
    hooks.x(begin, end, thread);
    multiply_packed(y.data() + begin * out_, x.data() + begin * in_, end - begin, in_, out_);
    hooks.y(begin, end, thread);
  });
}

template <class T>
void PointwiseConv2d<T>::begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float>) {
  pack(weight, true);
  dweight_ = dweight;
  std::fill(sums_.begin(), sums_.end(), 0.0f);
}

// Pixels that stay in the second-level cache while all tiles of the sums pass by; enough of them that these, which have
// to be fetched for each chunk, cost little.
template <class T>
int64_t PointwiseConv2d<T>::chunk() const {
  return std::clamp<int64_t>((512 << 10) / ((in_ + out_) * int64_t{sizeof(T)}), 3 * kTile, 9 * kTile);
}

template <class T>
void PointwiseConv2d<T>::add_to_sums(const T* dy, const T* x, int64_t pixels, int thread) {
  Operand<T> from{x, in_}, to{dy, out_};
  if constexpr (!std::is_same_v<T, float>) {
    T* at = interleaved_.data() + thread * chunk() * (in_ + out_);
    for (Operand<T>* side : {&from, &to}) {
      const int64_t channels = side->channels;
      for (int64_t p = 0; p < pixels; p += 2) {
        const T* pixel = side->data + p * channels;
        interleave(at + p * channels, pixel, p + 1 < pixels ? pixel + channels : zero_pixel_.data(), channels);
      }
      side->data = at;
      at += (pixels + pixels % 2) * channels;
    }
    pixels += pixels % 2;
  }
  add_outer_product(sums(thread).data(), turned_ ? from : to, turned_ ? to : from, pixels);
}

template <class T>
void PointwiseConv2d<T>::backward(std::span<T> dx, std::span<const T> dy, std::span<const T> x, const Piece& piece) {
  check_size(kName, "dy", dy.size(), pixels_ * out_);
  if (!dx.empty()) check_size(kName, "dx", dx.size(), pixels_ * in_);
  if (!x.empty()) check_size(kName, "x", x.size(), pixels_ * in_);
  if (!x.empty()) check_size(kName, "sums", sums_.size(), num_threads() * in_ * out_);
  const PieceHooks hooks(hooks_, piece);
  for_chunks(chunk(), [&](int64_t begin, int64_t end, int thread) {
    if (!x.empty()) {
      hooks.x_again(begin, end, thread);
      hooks.dy(begin, end, thread);
      add_to_sums(dy.data() + begin * out_, x.data() + begin * in_, end - begin, thread);
    }
    if (!dx.empty()) {
      multiply_packed(dx.data() + begin * in_, dy.data() + begin * out_, end - begin, out_, in_);
      hooks.dx(begin, end, thread);
    }
  });
}

template <class T>
void PointwiseConv2d<T>::end_backward() {
  parallel_for(out_, [&](int64_t first, int64_t last, int) {
    for (int t = 0; t < num_threads(); ++t) {
      const std::span<const float> part = sums(t);
      for (int64_t o = first; o < last; ++o)
        for (int64_t i = 0; i < in_; ++i) dweight_[o * in_ + i] += part[turned_ ? i * out_ + o : o * in_ + i];
    }
  });
}

template class PointwiseConv2d<float>;
template class PointwiseConv2d<Bf16>;

}  // namespace pleat
