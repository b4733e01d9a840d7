// Layout: activations NHWC, weights in panels of 16 output channels (ops/conv/gemm/tile_product.hpp) with k ordered
// (kh, kw, channel).
//
// Loops: threads take items of several lines, or of several pixels where lines are short, and with splits a range of
// panels each; for an item the input is copied with its borders, or gathered, and multiplied with the panels.
#include "fold/engine/product_conv.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "fold/engine/picture_lines.hpp"
#include "ops/conv/window.hpp"

namespace pleat {
namespace {

constexpr int64_t kShort = 7;  // pixels; of most tiles

// Else lines are single pixels of all pictures.
bool has_lines(const ProductConv& conv) {
  return !is_pointwise(conv.op) && conv.y.w >= kShort;
}

// Elements from what one output sees to what the next sees, if gathered: not a multiple of the first-level cache's
// size, or all would share a few of its lines.
template <class T>
int64_t gathered_pitch(int64_t depth) {
  constexpr int64_t kLine = 64 / sizeof(T);
  return (depth + kLine - 1) / kLine * kLine + kLine;
}

}  // namespace

std::vector<ProductCut> product_cuts(const ProductConv& conv) {
  constexpr int64_t kMostCopied = 512 << 10;  // bytes
  const int threads = num_threads(), splits = std::min<int>(threads, panels_of(conv.y.c));
  std::vector<ProductCut> cuts;
  if (has_lines(conv)) {
    for (const int64_t parts : {1, 2, 4, 8, 16}) {
      const int64_t lines = (conv.y.h + parts - 1) / parts;
      const int64_t seen = (lines - 1) * conv.op.stride + conv.op.kernel;
      if (seen * bordered_width(conv.op, conv.x, conv.y.w) * conv.x.c * int64_t{sizeof(float)} <= kMostCopied)
        cuts.push_back({lines, conv.y.n * parts < threads ? splits : 1});
      if (lines < 2) break;
    }
    return cuts;
  }
  const int64_t all = conv.y.n * conv.y.h * conv.y.w, seen = conv.op.kernel * conv.op.kernel * conv.x.c * sizeof(float);
  if (all * seen <= kMostCopied) cuts.push_back({all, splits});
  for (const int64_t pixels : {28, 56, 112})
    if (pixels * threads <= all && pixels * seen <= kMostCopied) cuts.push_back({pixels, 1});
  return cuts;
}

template <class T>
ProductConvKernel<T>::ProductConvKernel(const ProductConv& conv, std::span<const float> weight,
                                        std::span<const float> bias)
    : conv_(conv),
      depth_(int64_t{conv.op.kernel} * conv.op.kernel * conv.x.c),
      packing_(packing<T>(conv.y.c, conv.x.c)),
      bias_(bias.begin(), bias.end()) {
  PLEAT_CHECK(conv.is_supported(kDtypeOf<T>), "convolution as a product: ", conv.x.c, " to ", conv.y.c,
              " channels; expected multiples of 2 and 16, or of 4 and 8 but not 8, and a CPU with AVX2");
  bias_.resize(panels_of(conv.y.c) * kPanelWidth);
  const AlignedVector<float> lines = weights_by_line(weight, conv.op, conv.x.c, conv.op.kernel * conv.x.c);
  weight_.resize(packed_size(packing_, depth_));
  pack_panels<T, float>(weight_, {lines.data(), conv.y.c, depth_, depth_, 1}, depth_, packing_);
}

template <class T>
int64_t ProductConvKernel<T>::copy_size(int64_t lines) const {
  if (is_pointwise(conv_.op)) return 0;
  if (!has_lines(conv_)) return lines * gathered_pitch<T>(depth_);
  return ((lines - 1) * conv_.op.stride + conv_.op.kernel) * bordered_width(conv_.op, conv_.x, conv_.y.w) * conv_.x.c;
}

template <class T>
int64_t ProductConvKernel<T>::scratch_size(const ProductCut& cut) const {
  return num_threads() * copy_size(cut.lines);
}

template <class T>
Panels<T> ProductConvKernel<T>::panels(int64_t first, int64_t count) const {
  const int64_t panel = depth_ * kPanelWidth, whole = packing_.whole;
  return {weight_.data() + first * panel, panel, std::min(count, whole - first),
          first + count > whole ? weight_.data() + whole * panel : nullptr};
}

// What each of these output pixels sees, zeros where that is outside.
template <class T>
Pixels<T> ProductConvKernel<T>::gather(T* to, std::span<const T> x, const Range& pixels) const {
  const auto& [in, out, op, act] = conv_;
  const int64_t pitch = gathered_pitch<T>(depth_), kernel = op.kernel;
  T* pixel = to;
  for (int64_t p = pixels.begin; p < pixels.end; ++p, pixel += pitch) {
    const int64_t top = p / out.w % out.h * op.stride - op.pad.top, left = p % out.w * op.stride - op.pad.left;
    const T* const picture = x.data() + p / (out.w * out.h) * in.h * in.w * in.c;
    const int64_t begin = std::clamp<int64_t>(-left, 0, kernel), end = std::clamp<int64_t>(in.w - left, begin, kernel);
    T* line = pixel;
    for (int64_t row = top; row < top + kernel; ++row, line += kernel * in.c) {
      if (row < 0 || row >= in.h || begin == end) {
        std::fill_n(line, kernel * in.c, T(0.0f));
        continue;
      }
      std::fill_n(line, begin * in.c, T(0.0f));
      std::copy_n(picture + (row * in.w + left + begin) * in.c, (end - begin) * in.c, line + begin * in.c);
      std::fill_n(line + end * in.c, (kernel - end) * in.c, T(0.0f));
    }
  }
  return {to, 1, pixels.end - pixels.begin, 0, pitch};
}

template <class T>
void ProductConvKernel<T>::operator()(std::span<T> y, std::span<const T> x, std::span<T> scratch,
                                      const ProductCut& cut) const {
  constexpr int64_t kFewPixels = 16;  // of one tile
  const Nhwc &in = conv_.x, &out = conv_.y;
  const Conv2d& op = conv_.op;
  const bool by_line = has_lines(conv_);
  const int64_t pictures = by_line ? out.n : 1, lines = by_line ? out.h : out.n * out.h * out.w;
  const int64_t line_size = (by_line ? out.w : 1) * out.c, bands = (lines + cut.lines - 1) / cut.lines;
  parallel_for(pictures * bands * cut.splits, [&](int64_t begin, int64_t end, int thread) {
    T* const copy = scratch.data() + thread * copy_size(cut.lines);
    int64_t copied = -1;
    Pixels<T> a{};
    for (int64_t item = begin; item < end; ++item) {
      const int64_t band = item / cut.splits, picture = band / bands;
      const Range some{band % bands * cut.lines, std::min((band % bands + 1) * cut.lines, lines)};
      if (band != copied) {
        copied = band;
        if (is_pointwise(conv_.op)) {
          a = {x.data() + some.begin * in.c, 1, some.end - some.begin, 0, in.c};
        } else if (by_line) {
          const int64_t pitch = bordered_width(op, in, out.w) * in.c, first = some.begin * op.stride - op.pad.top;
          const Range seen{first, first + (some.end - some.begin - 1) * op.stride + op.kernel};
          copy_bordered(copy, pitch, x.data() + picture * in.h * in.w * in.c, in, op.pad, seen);
          a = {copy, some.end - some.begin, out.w, op.stride * pitch, op.stride * in.c, op.kernel, pitch};
        } else {
          a = gather(copy, x, some);
        }
      }
      const Range part = split(panel_count(), static_cast<int>(item % cut.splits), cut.splits);
      // For few pixels the weights are most of what is read: in the order they lie in memory.
      const int64_t step = a.lines * a.pixels <= kFewPixels ? 1 : part.end - part.begin;
      for (int64_t p = part.begin; p < part.end; p += step) {
        Sums sums{bias_.data() + p * kPanelWidth, 0, nullptr, line_size, out.c, conv_.act};
        sums.send(y.data() + (picture * lines + some.begin) * line_size + p * kPanelWidth);
        multiply(a, panels(p, step), depth_ / a.runs, sums, panels(p + step < part.end ? p + step : part.begin, step));
      }
    }
  });
}

template class ProductConvKernel<float>;
template class ProductConvKernel<Bf16>;

}  // namespace pleat
