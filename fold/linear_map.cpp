#include "fold/linear_map.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.hpp"
#include "core/op_traits.hpp"
#include "core/parallel.hpp"
#include "core/simd/simd.hpp"

namespace pleat {
namespace {

void accumulate(double* y, const double* x, double a, int64_t n) {
  dispatch([=](auto) PLEAT_INLINE {
    for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
  });
}

// Computes y[o] += sum over m of w[o][m] * x[m] for kRows rows x and kRows rows y at once, so that each number read
// from memory is used kRows times.
constexpr int64_t kRows = 4;
struct RowTile {
  double* y[kRows];
  const double* x[kRows];
  double w[kRows][kRows];
};
PLEAT_INLINE inline void accumulate_tile(const RowTile& t, int64_t n) {
  using V = Vec<double, 8>;
  V x[kRows], y;
  for (int64_t i = 0; i + kWidthOf<V> <= n; i += kWidthOf<V>) {
    PLEAT_UNROLLED(m, kRows) load(x[m], t.x[m] + i);
    PLEAT_UNROLLED(o, kRows) {
      load(y, t.y[o] + i);
      PLEAT_UNROLLED(m, kRows) y += t.w[o][m] * x[m];
      store(t.y[o] + i, y);
    }
  }
  for (int64_t i = n / kWidthOf<V> * kWidthOf<V>; i < n; ++i)
    for (int64_t o = 0; o < kRows; ++o)
      for (int64_t m = 0; m < kRows; ++m) t.y[o][i] += t.w[o][m] * t.x[m][i];
}
void accumulate(const RowTile& t, int64_t n) {
  dispatch([&](auto) PLEAT_INLINE { accumulate_tile(t, n); });
}

// What one map may take: 1 GB.
constexpr double kMaxWeights = 1 << 27;

LinearMap zero_map(const MapShape& s) {
  const double weights = static_cast<double>(s.out) * static_cast<double>(s.inputs()) *
                         static_cast<double>(s.rows.size()) * static_cast<double>(s.columns.size());
  PLEAT_CHECK(weights <= kMaxWeights, "fold: a merged convolution of ", s.in, " to ", s.out, " channels and ",
              s.rows.size(), "x", s.columns.size(), " offsets has ", weights, " weights, expected at most ",
              kMaxWeights);
  return {s, std::vector<double>(s.out * s.inputs() * s.rows.size() * s.columns.size()), std::vector<double>(s.out)};
}

template <class Body>
void each_offset(const MapShape& s, const Body& body) {
  for (int row = s.rows.lo; row <= s.rows.hi; ++row)
    for (int column = s.columns.lo; column <= s.columns.hi; ++column) body(row, column);
}

// Stride and offsets of second(first(x)) are at most 2^20: far beyond any picture, and no sum of them overflows.
bool can_compose(const MapShape& second, const MapShape& first) {
  constexpr int64_t kMost = 1 << 20;
  int64_t greatest = int64_t{first.stride} * second.stride;
  for (const auto& [a, b] : {std::pair{first.rows, second.rows}, std::pair{first.columns, second.columns}})
    for (const int64_t offset : {a.lo + int64_t{first.stride} * b.lo, a.hi + int64_t{first.stride} * b.hi})
      greatest = std::max(greatest, std::abs(offset));
  return greatest <= kMost;
}

MapShape window_shape(int in, int out, int groups, int kernel, int stride, const Padding& pad) {
  return {in, out, groups, stride, {-pad.top, kernel - 1 - pad.top}, {-pad.left, kernel - 1 - pad.left}};
}

// The numbers of the parameter `node.suffix`. The model was verified, so it exists and has the right shape.
const float* values(const Node& node, const char* suffix, const Tensors& tensors) {
  return tensors.at(node.name + suffix).values.data();
}

// Copies weights in OIHW order, and the bias if there is one, into a map with the same offsets.
void read_kernel(LinearMap& map, const Node& node, bool bias, const Tensors& tensors) {
  const MapShape& s = map.shape;
  const float* weight = values(node, ".weight", tensors);
  for (int64_t o = 0; o < s.out; ++o)
    for (int64_t i = 0; i < s.inputs(); ++i)
      each_offset(s, [&](int row, int column) { map.weight[s.weight_at(o, row, column) + i] = *weight++; });
  if (bias) std::copy_n(values(node, ".bias", tensors), s.out, map.bias.begin());
}

int common_groups(const MapShape& a, const MapShape& b) {
  return std::gcd(a.groups, b.groups);
}

void accumulate(LinearMap& sum, const LinearMap& part) {
  for (int64_t o = 0; o < part.shape.out; ++o) {
    const int64_t shift = part.shape.first_input(o) - sum.shape.first_input(o);
    each_offset(part.shape, [&](int row, int column) {
      accumulate(&sum.weight[sum.shape.weight_at(o, row, column) + shift],
                 &part.weight[part.shape.weight_at(o, row, column)], 1, part.shape.inputs());
    });
    sum.bias[o] += part.bias[o];
  }
}

}  // namespace

MapShape identity_shape(int channels) {
  return {channels, channels, channels, 1, {}, {}};
}

LinearMap identity_map(int channels) {
  LinearMap map = zero_map(identity_shape(channels));
  std::fill(map.weight.begin(), map.weight.end(), 1);
  return map;
}

std::optional<MapShape> map_shape(const Op& op, const Nhwc& in) {
  using Shape = std::optional<MapShape>;
  const int c = static_cast<int>(in.c);
  return visit_op(
      Overloaded{
          [&](const Conv2d& o) -> Shape { return window_shape(c, o.out, o.groups, o.kernel, o.stride, o.pad); },
          [&](const DepthwiseConv2d& o) -> Shape { return window_shape(c, c, c, o.kernel, o.stride, o.pad); },
          [&](const AvgPool2d& o) -> Shape { return window_shape(c, c, c, o.kernel, o.stride, o.pad); },
          [&](const Shortcut& o) -> Shape { return window_shape(c, o.out, o.out == c ? c : 1, 1, o.stride, o.pad); },
          [&](const Linear& o) -> Shape { return window_shape(c, o.out, 1, 1, 1, {}); },
          [&](const BatchNorm&) -> Shape { return identity_shape(c); },
          [&](const GlobalAvgPool&) -> Shape { return identity_shape(c); },
          [&](const Flatten&) -> Shape {
            if (in.h != 1 || in.w != 1) return std::nullopt;
            return identity_shape(c);
          },
          [](const NonLinear auto&) -> Shape { return std::nullopt; },
      },
      op);
}

LinearMap linear_map(const Node& node, const Nhwc& in, const Tensors& tensors) {
  const auto shape = map_shape(node.op, in);
  PLEAT_CHECK(shape, kind(node.op), " '", node.name,
              "': is not a linear map of one picture, expected an op that can be merged");
  LinearMap map = zero_map(*shape);
  visit_op(
      Overloaded{
          [&](const Conv2d& o) { read_kernel(map, node, o.bias, tensors); },
          [&](const DepthwiseConv2d& o) { read_kernel(map, node, o.bias, tensors); },
          [&](const Linear& o) { read_kernel(map, node, o.bias, tensors); },
          [&](const AvgPool2d& o) { std::fill(map.weight.begin(), map.weight.end(), 1.0 / (o.kernel * o.kernel)); },
          [&](const Shortcut& o) {
            const int64_t before = (o.out - in.c) / 2;
            for (int64_t i = 0; i < in.c; ++i) map.weight[o.out == in.c ? i : (before + i) * in.c + i] = 1;
          },
          [&](const BatchNorm& o) {
            const float *gamma = values(node, ".weight", tensors), *beta = values(node, ".bias", tensors);
            const float* mean = values(node, ".running_mean", tensors);
            const float* var = values(node, ".running_var", tensors);
            for (int64_t c = 0; c < in.c; ++c) {
              map.weight[c] = gamma[c] / std::sqrt(var[c] + o.eps);
              map.bias[c] = beta[c] - map.weight[c] * mean[c];
            }
          },
          [&](const GlobalAvgPool&) { map = identity_map(shape->in); },
          [&](const Flatten&) { map = identity_map(shape->in); },
          [](const NonLinear auto&) {},  // for these, map_shape returned nullopt
      },
      node.op);
  return map;
}

MapShape compose(const MapShape& second, const MapShape& first) {
  PLEAT_CHECK(second.in == first.out, "fold: a map that reads ", second.in, " channels cannot follow one that gives ",
              first.out, ", expected as many");
  PLEAT_CHECK(can_compose(second, first), "fold: a map of stride ", second.stride, " after one of stride ",
              first.stride, " reaches too far, expected offsets of at most 2^20");
  const auto offsets = [&](const Offsets& b, const Offsets& a) {
    return Offsets{a.lo + first.stride * b.lo, a.hi + first.stride * b.hi};
  };
  return {first.in,
          second.out,
          common_groups(second, first),
          first.stride * second.stride,
          offsets(second.rows, first.rows),
          offsets(second.columns, first.columns)};
}

LinearMap compose(const LinearMap& second, const LinearMap& first) {
  const MapShape &a = first.shape, &b = second.shape;
  LinearMap map = zero_map(compose(b, a));
  const MapShape& s = map.shape;
  const int64_t outputs_per_group = b.out / b.groups, middles_per_group = a.out / a.groups;
  // Adds to outputs [from, to) what reaches them through the middle channels [first_m, last_m), which belong to one
  // group of `a`.
  const auto add_tile = [&](int64_t from, int64_t to, int64_t first_m, int64_t last_m) {
    const int64_t shift = a.first_input(first_m) - s.first_input(from), b_first = b.first_input(from);
    const bool full = to - from == kRows && last_m - first_m == kRows;
    RowTile tile;
    each_offset(a, [&](int row1, int column1) {
      each_offset(b, [&](int row2, int column2) {
        const int row = row1 + a.stride * row2, column = column1 + a.stride * column2;
        for (int64_t o = from; o < to; ++o) {
          double* const y = &map.weight[s.weight_at(o, row, column) + shift];
          const double* const w = &second.weight[b.weight_at(o, row2, column2) - b_first];
          if (full) tile.y[o - from] = y, std::copy(w + first_m, w + last_m, tile.w[o - from]);
          for (int64_t m = first_m; m < last_m && !full; ++m)
            if (w[m] != 0) accumulate(y, &first.weight[a.weight_at(m, row1, column1)], w[m], a.inputs());
        }
        for (int64_t m = first_m; m < last_m && full; ++m)
          tile.x[m - first_m] = &first.weight[a.weight_at(m, row1, column1)];
        if (full) accumulate(tile, a.inputs());
      });
    });
  };
  const auto work = [&](int64_t begin, int64_t end, int) {
    for (int64_t from = begin, to; from < end; from = to) {
      to = std::min({end, from + kRows, (from / outputs_per_group + 1) * outputs_per_group});
      const int64_t first_middle = b.first_input(from), end_middle = first_middle + b.inputs();
      for (int64_t m = first_middle, next; m < end_middle; m = next) {
        next = std::min({end_middle, m + kRows, (m / middles_per_group + 1) * middles_per_group});
        add_tile(from, to, m, next);
      }
      for (int64_t o = from; o < to; ++o) {
        each_offset(b, [&](int row, int column) {
          const double* const w = &second.weight[b.weight_at(o, row, column)];
          for (int64_t m = 0; m < b.inputs(); ++m) map.bias[o] += w[m] * first.bias[first_middle + m];
        });
        map.bias[o] += second.bias[o];
      }
    }
  };
  constexpr int64_t kWorthThreads =
      1 << 22;  // multiplications; with fewer, waking the threads would cost more than it saves
  const int64_t offsets = int64_t{1} * a.rows.size() * a.columns.size() * b.rows.size() * b.columns.size();
  if (b.out * b.inputs() * a.inputs() * offsets < kWorthThreads)
    work(0, b.out, 0);
  else
    parallel_for(b.out, work);
  return map;
}

MapShape add(const MapShape& a, const MapShape& b) {
  PLEAT_CHECK(a.in == b.in && a.out == b.out && a.stride == b.stride, "fold: cannot add maps of ", a.in, " to ", a.out,
              " channels, stride ", a.stride, ", and of ", b.in, " to ", b.out, ", stride ", b.stride);
  const auto hull = [](const Offsets& p, const Offsets& q) {
    if (p.size() == 0 || q.size() == 0) return p.size() == 0 ? q : p;
    return Offsets{std::min(p.lo, q.lo), std::max(p.hi, q.hi)};
  };
  return {a.in, a.out, common_groups(a, b), a.stride, hull(a.rows, b.rows), hull(a.columns, b.columns)};
}

LinearMap add(const LinearMap& a, const LinearMap& b) {
  LinearMap sum = zero_map(add(a.shape, b.shape));
  accumulate(sum, a);
  accumulate(sum, b);
  return sum;
}

LinearMap crop(const LinearMap& map, const Offsets& rows, const Offsets& columns) {
  const auto common = [](const Offsets& a, const Offsets& b) {
    const Offsets both{std::max(a.lo, b.lo), std::min(a.hi, b.hi)};
    return both.size() > 0 ? both : Offsets{0, -1};
  };
  MapShape shape = map.shape;
  shape.rows = common(rows, shape.rows);
  shape.columns = common(columns, shape.columns);
  LinearMap part = zero_map(shape);
  part.bias = map.bias;
  for (int64_t o = 0; o < shape.out; ++o)
    each_offset(shape, [&](int row, int column) {
      std::copy_n(&map.weight[map.shape.weight_at(o, row, column)], shape.inputs(),
                  &part.weight[shape.weight_at(o, row, column)]);
    });
  return part;
}

Tensor kernel_tensor(const LinearMap& map) {
  const MapShape& s = map.shape;
  const int64_t k = s.kernel();
  Tensor tensor({s.out, s.inputs(), k, k});
  for (int64_t o = 0; o < s.out; ++o)
    for (int64_t i = 0; i < s.inputs(); ++i)
      each_offset(s, [&](int row, int column) {
        tensor.values[((o * s.inputs() + i) * k + row - s.rows.lo) * k + column - s.columns.lo] =
            static_cast<float>(map.weight[s.weight_at(o, row, column) + i]);
      });
  return tensor;
}

Tensor bias_tensor(const LinearMap& map) {
  Tensor tensor({map.shape.out});
  std::transform(map.bias.begin(), map.bias.end(), tensor.values.begin(),
                 [](double b) { return static_cast<float>(b); });
  return tensor;
}

}  // namespace pleat
