// Layout: activations NHWC. Expanded and filtered channels exist for one band of output rows and one chunk of channels
// at a time: expanded [line][column with padding][channel], filtered [pixel][channel], both in the second-level cache;
// the sums of the projection are [pixel][out] in float.
//
// Loops: bands of rows (and with splits ranges of channels), which threads share; chunks of channels; within a chunk a
// few rows at a time are expanded and filtered; then the whole band is projected and added to the sums. After the last
// chunk the sums get bias, residual and activation.
#include "fold/engine/fused_inverted_residual.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "fold/engine/fused_depthwise.hpp"

namespace pleat {
namespace {

constexpr int64_t kAlign = 16;  // floats of a cache line

int64_t aligned(int64_t floats) {
  return (floats + kAlign - 1) / kAlign * kAlign;
}

AlignedVector<float> padded(std::span<const float> values, int64_t size) {
  AlignedVector<float> result(values.begin(), values.end());
  result.resize(size);
  return result;
}

// to[0..count) = from[0..real), then zeros; count is a multiple of 16, real of 2.
template <class T>
void copy_channels(T* to, const T* from, int64_t real, int64_t count) {
  constexpr int64_t kWhole = 16;
  int64_t i = 0;
  for (; i + kWhole <= real; i += kWhole) std::memcpy(to + i, from + i, kWhole * sizeof(T));
  for (; i < count; ++i) to[i] = i < real ? from[i] : T(0.0f);
}

}  // namespace

// Scratch memory laid out.
template <class T>
struct InvertedResidualKernel<T>::Buffers {
  T* lines;     // of the picture that a row is expanded from, a thread's
  T* expanded;  // [rows of input][columns with padding][chunk], a thread's
  T* filtered;  // [rows * columns][chunk], a thread's
  float* sums;  // [rows * columns][out_panels * 16], a thread's or with splits an item's
  int64_t thread_size, sums_size;
};

// A thread's piece of work: rows of one picture, and channels of the tensor between.
template <class T>
struct InvertedResidualKernel<T>::Band {
  const T* x;  // the picture
  int64_t row, rows, begin, end, chunk;
  T* lines;
  T* expanded;
  T* filtered;
  float* sums;
  T* y;  // where the sums need nothing more than bias and activation, else nullptr
};

template <class T>
InvertedResidualKernel<T>::InvertedResidualKernel(const InvertedResidual& block, const InvertedResidualWeights& weights)
    : block_(block), out_panels_(panels_of(block.y.c)), packing_(packing<T>(block.y.c, kPanelWidth)) {
  const int64_t between = block.between.c;
  PLEAT_CHECK(block.is_supported(kDtypeOf<T>), "inverted residual: kernel ", block.depthwise.kernel, ", stride ",
              block.depthwise.stride, ", ", block.x.c,
              " channels; expected 3 or 5, 1 or 2, an even number, and a CPU with AVX2");
  const int64_t taps = block.depthwise.kernel * block.depthwise.kernel;
  const int64_t channels = panels_of(between) * kPanelWidth;
  if (block.expand) {
    const Packing whole{panels_of(between), false};
    const int64_t line = block.expand->kernel * block.x.c;
    run_ = (line + kLaneWeights<T> - 1) / kLaneWeights<T> * kLaneWeights<T>;
    depth_ = block.expand->kernel * run_;
    const AlignedVector<float> lines = weights_by_line(weights.expand, *block.expand, block.x.c, run_);
    expand_.resize(packed_size(whole, depth_));
    pack_panels<T, float>(expand_, {lines.data(), between, depth_, depth_, 1}, depth_, whole);
  }
  project_.resize(packed_size(packing_, channels));
  pack_panels<T, float>(project_, {weights.project.data(), block.y.c, between, between, 1}, channels, packing_);
  expand_bias_ = padded(weights.expand_bias, channels);
  depthwise_bias_ = padded(weights.depthwise_bias, channels);
  project_bias_ = padded(weights.project_bias, out_panels_ * kPanelWidth);
  zeros_.resize(out_panels_ * kPanelWidth);
  depthwise_.resize(taps * channels);
  for (int64_t c = 0; c < between; ++c)
    for (int64_t t = 0; t < taps; ++t) depthwise_[t * channels + c] = weights.depthwise[c * taps + t];
}

// Elements from line to line of what a row is expanded from, if not from the picture as it is.
template <class T>
int64_t InvertedResidualKernel<T>::line_pitch() const {
  if (!block_.reads_lines()) return 0;
  const int64_t line = bordered_width(*block_.expand, block_.x, block_.between.w) * block_.x.c;
  return (line + run_ - block_.expand->kernel * block_.x.c + kLaneWeights<T> - 1) / kLaneWeights<T> * kLaneWeights<T>;
}

template <class T>
auto InvertedResidualKernel<T>::lay_out(float* scratch, const BlockCut& cut) const -> Buffers {
  const auto [kernel, stride, pad, bias] = block_.depthwise;
  const int64_t width = pad.left + block_.between.w + pad.right + stride, pixels = cut.rows * block_.y.w;
  Buffers buffers{};
  const auto take = [&](int64_t elements) {
    T* const at = reinterpret_cast<T*>(scratch + buffers.thread_size);
    buffers.thread_size += aligned(elements / kLaneWeights<T>);
    return at;
  };
  buffers.lines = take(block_.reads_lines() ? block_.expand->kernel * line_pitch() : 0);
  buffers.expanded = take(((cut.rows - 1) * stride + kernel) * width * cut.chunk);
  buffers.filtered = take(pixels * cut.chunk);
  buffers.sums = scratch + num_threads() * buffers.thread_size;
  buffers.sums_size = pixels * out_panels_ * kPanelWidth;
  return buffers;
}

template <class T>
int64_t InvertedResidualKernel<T>::scratch_size(const BlockCut& cut) const {
  const Buffers buffers = lay_out(nullptr, cut);
  const int64_t bands = (block_.y.h + cut.rows - 1) / cut.rows;
  const int64_t sums = cut.splits > 1 ? block_.y.n * bands * cut.splits : num_threads();
  return num_threads() * buffers.thread_size + sums * buffers.sums_size;
}

// `count` channels from c on of some rows, expanded or as they are; `width` pixels from row to row of `to`.
template <class T>
void InvertedResidualKernel<T>::expand(const Band& band, const Range& rows, int64_t c, int64_t count, T* to,
                                       int64_t width) const {
  const Nhwc &x = block_.x, &between = block_.between;
  if (rows.begin == rows.end) return;
  const T* from = band.x + rows.begin * x.w * x.c;
  if (block_.expand) {
    Sums sums{expand_bias_.data() + c, 0, nullptr, width * count, count, block_.acts[0]};
    const auto multiply_by = [&](const Pixels<T>& pixels) {
      sums.send(to);
      multiply(pixels, expanding(c, count), run_, sums, projecting(c));
    };
    if (!block_.reads_lines()) return multiply_by({from, rows.end - rows.begin, x.w, x.w * x.c, x.c});
    const int64_t kernel = block_.expand->kernel, stride = block_.expand->stride, pitch = line_pitch();
    for (int64_t row = rows.begin; row < rows.end; ++row, to += width * count) {
      const int64_t first = row * stride - block_.expand->pad.top;
      copy_bordered(band.lines, pitch, band.x, x, block_.expand->pad, {first, first + kernel});
      multiply_by({band.lines, 1, between.w, 0, stride * x.c, kernel, pitch});
    }
    return;
  }
  for (int64_t row = rows.begin; row < rows.end; ++row, from += x.w * x.c, to += width * count)
    if (count == x.c)
      std::copy_n(from, x.w * x.c, to);
    else
      for (int64_t column = 0; column < x.w; ++column)
        copy_channels(to + column * count, from + column * x.c + c, std::min(count, x.c - c), count);
}

template <class T>
template <class Isa>
PLEAT_INLINE inline void InvertedResidualKernel<T>::compute(const Band& band) const {
  const auto [kernel, stride, pad, has_bias] = block_.depthwise;
  const Nhwc &x = block_.between, &y = block_.y;
  const int64_t first = band.row * stride - pad.top, seen = (band.rows - 1) * stride + kernel;
  const int64_t begin = std::clamp<int64_t>(first, 0, x.h), end = std::clamp<int64_t>(first + seen, begin, x.h);
  const int64_t width = std::max(pad.left + x.w, (y.w - 1) * stride + kernel);
  const int64_t all = panels_of(x.c) * kPanelWidth, sum_width = out_panels_ * kPanelWidth;
  // Pixels enough for what the weights cost to fetch.
  constexpr int64_t kLeastPixels = 56;
  const int64_t step = 2 * std::max<int64_t>(1, kLeastPixels / (2 * stride * x.w));
  for (int64_t c = band.begin; c < band.end; c += band.chunk) {
    const int64_t count = std::min(band.chunk, band.end - c);
    // Zeros around the picture, once for all chunks of one size.
    if (c == band.begin || count < band.chunk) {
      T* line = band.expanded;
      for (int64_t row = first; row < first + seen; ++row, line += width * count) {
        const bool inside = row >= begin && row < end;
        std::fill_n(line, inside ? pad.left * count : width * count, T(0.0f));
        if (inside) std::fill(line + (pad.left + x.w) * count, line + width * count, T(0.0f));
      }
    }
    T* const at = band.expanded + ((begin - first) * width + pad.left) * count;
    // A few rows at a time: what they expand to is in the first-level cache still when it is filtered.
    int64_t expanded = begin;
    for (int64_t row = 0; row < band.rows; row += step) {
      const int64_t rows = std::min(step, band.rows - row);
      const int64_t needed = std::clamp<int64_t>(first + (row + rows - 1) * stride + kernel, expanded, end);
      expand(band, Range{expanded, needed}, c, count, at + (expanded - begin) * width * count, width);
      expanded = needed;
      const fused_depthwise::Plane plane{rows, y.w, width * count, count};
      const T* const seen_rows = band.expanded + row * stride * width * count;
      const auto filter_by = [&](auto kernel_, auto stride_) PLEAT_INLINE {
        fused_depthwise::filter<Isa, decltype(kernel_)::value, decltype(stride_)::value>(
            band.filtered + row * y.w * count, seen_rows, count, depthwise_.data() + c, all, depthwise_bias_.data() + c,
            block_.acts[1], plane);
      };
      using One = std::integral_constant<int, 1>;
      using Two = std::integral_constant<int, 2>;
      using Three = std::integral_constant<int, 3>;
      using Five = std::integral_constant<int, 5>;
      if (kernel == 3)
        stride == 1 ? filter_by(Three(), One()) : filter_by(Three(), Two());
      else
        stride == 1 ? filter_by(Five(), One()) : filter_by(Five(), Two());
    }
    // The first channels' sums start at the bias, or at zero if it comes later.
    const bool adds = c > band.begin;
    Sums sums{
        adds ? band.sums : (band.y ? project_bias_ : zeros_).data(), adds ? sum_width : 0, band.sums, 0, sum_width, {}};
    if (band.y != nullptr && c + count == band.end) {
      sums.pixel = y.c;
      sums.act = block_.acts[2];
      sums.send(band.y);
    }
    const int64_t after = c + count < band.end ? c + count : band.begin;  // of the next rows
    multiply(Pixels<T>{band.filtered, 1, band.rows * y.w, 0, count}, projecting(c), count, sums,
             block_.expand ? expanding(after, std::min(band.chunk, band.end - after)) : projecting(after));
  }
}

namespace {

// What becomes of the sums of some pixels. Distances in elements; `splits` sums of each, `split` apart.
template <class T>
struct Finish {
  T* y;
  const T* residual;  // or nullptr
  const float *sums, *bias;
  int64_t pixels, channels, sum_width, split;
  int splits;
  Activation act;
};

template <class Isa, class V, class T>
PLEAT_INLINE inline void finish_vector(const Finish<T>& f, int64_t pixel, int64_t channel) {
  V v, other;
  const int64_t at = pixel * f.channels + channel;
  const float* sum = f.sums + pixel * f.sum_width + channel;
  load(v, f.bias + channel);
  for (int s = 0; s < f.splits; ++s) {
    load(other, sum + s * f.split);
    v += other;
  }
  if (f.residual != nullptr) {
    load<Isa>(other, f.residual + at);
    v += other;
  }
  activate(v, f.act);
  store<Isa>(f.y + at, v);
}

template <class Isa, class T>
PLEAT_INLINE inline void finish_pixels(const Finish<T>& f) {
  using V = Vec<float, Isa::kBytes / sizeof(float)>;
  for (int64_t p = 0; p < f.pixels; ++p) {
    int64_t c = 0;
    for (; c + kWidthOf<V> <= f.channels; c += kWidthOf<V>) finish_vector<Isa, V>(f, p, c);
    for (; c + 8 <= f.channels; c += 8) finish_vector<Isa, Vec<float, 8>>(f, p, c);
    for (; c < f.channels; ++c) finish_vector<Isa, Vec<float, 1>>(f, p, c);
  }
}

}  // namespace

template <class T>
void InvertedResidualKernel<T>::operator()(std::span<T> y, std::span<const T> x, std::span<const T> residual,
                                           std::span<float> scratch, const BlockCut& cut) const {
  const Nhwc &in = block_.x, &out = block_.y;
  const Buffers buffers = lay_out(scratch.data(), cut);
  const int64_t bands = (out.h + cut.rows - 1) / cut.rows, sum_width = out_panels_ * kPanelWidth;
  const int64_t panels = panels_of(block_.between.c);
  const auto finish = [&](int64_t item, const float* sums, int64_t from, int64_t to) {
    const int64_t at = ((item / bands * out.h + item % bands * cut.rows) * out.w + from) * out.c;
    const Finish<T> f{y.data() + at,
                      residual.empty() ? nullptr : residual.data() + at,
                      sums + from * sum_width,
                      project_bias_.data(),
                      to - from,
                      out.c,
                      sum_width,
                      buffers.sums_size,
                      cut.splits,
                      block_.acts[2]};
    dispatch_tiles<T>([&]<class Isa>(Isa) PLEAT_INLINE { finish_pixels<Isa>(f); });
  };
  const bool direct =
      cut.splits == 1 && residual.empty() && out.c % (packing_.tail ? kPanelWidth / 2 : kPanelWidth) == 0;
  const auto rows_of = [&](int64_t item) { return std::min(cut.rows, out.h - item % bands * cut.rows); };
  parallel_for(out.n * bands * cut.splits, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t item = i / cut.splits, split_index = i % cut.splits;
      const Range part = split(panels, static_cast<int>(split_index), cut.splits);
      Band band{x.data() + item / bands * in.h * in.w * in.c,
                item % bands * cut.rows,
                rows_of(item),
                part.begin * kPanelWidth,
                part.end * kPanelWidth,
                cut.chunk,
                buffers.lines + thread * buffers.thread_size * kLaneWeights<T>,
                buffers.expanded + thread * buffers.thread_size * kLaneWeights<T>,
                buffers.filtered + thread * buffers.thread_size * kLaneWeights<T>,
                buffers.sums + (cut.splits > 1 ? i : thread) * buffers.sums_size,
                direct ? y.data() + (item / bands * out.h + item % bands * cut.rows) * out.w * out.c : nullptr};
      dispatch_tiles<T>([&]<class Isa>(Isa) PLEAT_INLINE { compute<Isa>(band); });
      if (cut.splits == 1 && !direct) finish(item, band.sums, 0, band.rows * out.w);
    }
  });
  if (cut.splits == 1) return;
  for (int64_t item = 0; item < out.n * bands; ++item)
    parallel_for(rows_of(item) * out.w, [&](int64_t begin, int64_t end, int) {
      finish(item, buffers.sums + item * cut.splits * buffers.sums_size, begin, end);
    });
}

template class InvertedResidualKernel<float>;
template class InvertedResidualKernel<Bf16>;

}  // namespace pleat
