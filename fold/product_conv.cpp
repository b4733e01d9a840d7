#include "fold/product_conv.hpp"

#include <algorithm>

#include "core/check.hpp"

namespace pleat {

std::vector<ProductCut> product_cuts(const ProductConv& conv) {
  constexpr int64_t kMostSeen = 512 << 10;  // bytes of what is copied
  const int threads = num_threads();
  const int64_t all = conv.y.n * conv.y.h * conv.y.w, seen = conv.kernel * conv.kernel * conv.x.c * sizeof(float);
  std::vector<ProductCut> cuts;
  if (all * seen <= kMostSeen) cuts.push_back({all, std::min<int>(threads, panels_of(conv.y.c))});
  for (const int64_t pixels : {28, 56, 112})
    if (pixels * threads <= all && pixels * seen <= kMostSeen) cuts.push_back({pixels, 1});
  return cuts;
}

template <class T>
ProductConvKernel<T>::ProductConvKernel(const ProductConv& conv, std::span<const float> weight,
                                        std::span<const float> bias)
    : conv_(conv), depth_(conv.kernel * conv.kernel * conv.x.c), bias_(bias.begin(), bias.end()) {
  PLEAT_CHECK(conv.is_supported(), "convolution as a product: ", conv.x.c, " to ", conv.y.c,
              " channels; expected an even number, a multiple of 16, and a CPU with AVX2");
  // Not a multiple of the first-level cache's size, or all pixels would share a few of its lines.
  constexpr int64_t kLine = 64 / sizeof(T);
  pitch_ = copies() ? (depth_ + kLine - 1) / kLine * kLine + kLine : conv.x.c;
  bias_.resize(conv.y.c);
  const int64_t taps = conv.kernel * conv.kernel;
  AlignedVector<float> by_tap(weight.size());  // [out][tap][in], as gather() copies
  for (int64_t o = 0; o < conv.y.c; ++o)
    for (int64_t i = 0; i < conv.x.c; ++i)
      for (int64_t t = 0; t < taps; ++t) by_tap[(o * taps + t) * conv.x.c + i] = weight[(o * conv.x.c + i) * taps + t];
  weight_ = pack_panels<T>(by_tap, conv.y.c, depth_, depth_);
}

template <class T>
int64_t ProductConvKernel<T>::scratch_size(const ProductCut& cut) const {
  return copies() ? num_threads() * cut.pixels * pitch_ : 0;
}

// What each of these output pixels sees, zeros where that is outside.
template <class T>
void ProductConvKernel<T>::gather(T* to, std::span<const T> x, const Range& pixels) const {
  const auto& [in, out, kernel, stride, pad, act] = conv_;
  for (int64_t p = pixels.begin; p < pixels.end; ++p, to += pitch_) {
    const int64_t top = p / out.w % out.h * stride - pad.top, left = p % out.w * stride - pad.left;
    const T* const picture = x.data() + p / (out.w * out.h) * in.h * in.w * in.c;
    const int64_t begin = std::clamp<int64_t>(-left, 0, kernel), end = std::clamp<int64_t>(in.w - left, begin, kernel);
    T* line = to;
    for (int64_t row = top; row < top + kernel; ++row, line += kernel * in.c) {
      if (row < 0 || row >= in.h) {
        std::fill_n(line, kernel * in.c, T(0.0f));
        continue;
      }
      std::fill_n(line, begin * in.c, T(0.0f));
      std::copy_n(picture + (row * in.w + left + begin) * in.c, (end - begin) * in.c, line + begin * in.c);
      std::fill_n(line + end * in.c, (kernel - end) * in.c, T(0.0f));
    }
  }
}

template <class T>
void ProductConvKernel<T>::operator()(std::span<T> y, std::span<const T> x, std::span<T> scratch,
                                      const ProductCut& cut) const {
  const int64_t all = conv_.y.n * conv_.y.h * conv_.y.w, channels = conv_.y.c, panels = channels / kPanelWidth;
  constexpr int64_t kFewPixels = 16;  // of one tile
  const int64_t bands = (all + cut.pixels - 1) / cut.pixels, panel = depth_ * kPanelWidth;
  parallel_for(bands * cut.splits, [&](int64_t begin, int64_t end, int thread) {
    T* const copied = scratch.data() + thread * cut.pixels * pitch_;
    int64_t gathered = -1;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t band = item / cut.splits;
      const Range pixels{band * cut.pixels, std::min((band + 1) * cut.pixels, all)};
      if (copies() && band != gathered) gather(copied, x, pixels);
      gathered = band;
      const Range part = split(panels, static_cast<int>(item % cut.splits), cut.splits);
      const Pixels<T> a{copies() ? copied : x.data() + pixels.begin * pitch_, 1, pixels.end - pixels.begin, 0, pitch_};
      // For few pixels the weights are most of what is read: in the order they lie in memory.
      const int64_t step = a.pixels <= kFewPixels ? 1 : part.end - part.begin;
      for (int64_t p = part.begin; p < part.end; p += step) {
        Sums sums{bias_.data() + p * kPanelWidth, 0, nullptr, 0, channels, conv_.act};
        sums.send(y.data() + pixels.begin * channels + p * kPanelWidth);
        multiply(a, Panels<T>{weight_.data() + p * panel, panel, step}, depth_, sums,
                 Panels<T>{weight_.data() + (p + step < part.end ? p + step : part.begin) * panel, panel, step});
      }
    }
  });
}

template class ProductConvKernel<float>;
template class ProductConvKernel<Bf16>;

}  // namespace pleat
