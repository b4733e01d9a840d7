#include "tests/reference.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.hpp"

namespace pleat::testing {
namespace {

using Values = std::vector<double>;

int64_t windows(int64_t size, int before, int after, int kernel, int stride) {
  return (size + before + after - kernel) / stride + 1;
}

Nhwc windowed(const Nhwc& x, int kernel, int stride, const Padding& pad, int64_t channels) {
  return {x.n, windows(x.h, pad.top, pad.bottom, kernel, stride), windows(x.w, pad.left, pad.right, kernel, stride),
          channels};
}

// The index of an element.
int64_t element(const Nhwc& s, int64_t n, int64_t h, int64_t w, int64_t c) {
  return ((n * s.h + h) * s.w + w) * s.c + c;
}

/// Calls body(n, row, column, channel, index) for each element of an activation.
template <class Body>
void each(const Nhwc& s, const Body& body) {
  int64_t i = 0;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t h = 0; h < s.h; ++h)
      for (int64_t w = 0; w < s.w; ++w)
        for (int64_t c = 0; c < s.c; ++c) body(n, h, w, c, i++);
}

/// Calls body(u, v, row, column) for each tap of output pixel (h, w) that lies inside the input.
template <class Body>
void each_tap(const Nhwc& x, int kernel, int stride, const Padding& pad, int64_t h, int64_t w, const Body& body) {
  for (int u = 0; u < kernel; ++u)
    for (int v = 0; v < kernel; ++v) {
      const int64_t row = h * stride - pad.top + u, column = w * stride - pad.left + v;
      if (row >= 0 && row < x.h && column >= 0 && column < x.w) body(u, v, row, column);
    }
}

Values convolve(const Values& x, const Nhwc& xs, const Nhwc& ys, const ReferenceParams& p, int kernel, int stride,
                const Padding& pad, int groups) {
  Values y(ys.size());
  const int64_t in = xs.c / groups, out = ys.c / groups;
  each(ys, [&](int64_t n, int64_t h, int64_t w, int64_t o, int64_t i) {
    double sum = p.bias.empty() ? 0 : p.bias[o];
    each_tap(xs, kernel, stride, pad, h, w, [&](int u, int v, int64_t row, int64_t column) {
      for (int64_t c = 0; c < in; ++c)
        sum += p.weight[((o * in + c) * kernel + u) * kernel + v] * x[element(xs, n, row, column, o / out * in + c)];
    });
    y[i] = sum;
  });
  return y;
}

// One side of the ring along one axis: positions [first, first + count), which read inputs [from, from + taps).
struct Side {
  int64_t first, count, from, taps;
};

Values border(const Values& x, const Nhwc& xs, const Nhwc& ys, const ReferenceParams& p, const BorderConv2d& o) {
  const Padding &ring = o.ring, &reach = o.reach;
  const Side top{0, ring.top, 0, reach.top}, bottom{ys.h - ring.bottom, ring.bottom, xs.h - reach.bottom, reach.bottom};
  const Side left{0, ring.left, 0, reach.left}, right{ys.w - ring.right, ring.right, xs.w - reach.right, reach.right};
  const int64_t in = xs.c / o.groups, out = ys.c / o.groups;
  Values y(ys.size());
  const auto add = [&](int64_t tap, int64_t h, int64_t w, int64_t row, int64_t column) {  // y(h, w) += weight x
    if (row < 0 || row >= xs.h || column < 0 || column >= xs.w) return;
    for (int64_t n = 0; n < ys.n; ++n)
      for (int64_t c = 0; c < ys.c; ++c)
        for (int64_t i = 0; i < in; ++i)
          y[element(ys, n, h, w, c)] +=
              p.weight[(tap * in + i) * ys.c + c] * x[element(xs, n, row, column, c / out * in + i)];
  };
  int64_t tap = 0;
  const auto edge_rows = [&](const Side& side) {
    for (int64_t h = side.first; h < side.first + side.count; ++h)
      for (int64_t row = side.from; row < side.from + side.taps; ++row)
        for (int v = 0; v < o.kernel; ++v, ++tap)
          for (int64_t w = 0; w < ys.w; ++w) add(tap, h, w, row, w * o.stride - o.pad.left + v);
  };
  const auto edge_columns = [&](const Side& side) {
    for (int64_t w = side.first; w < side.first + side.count; ++w)
      for (int u = 0; u < o.kernel; ++u)
        for (int64_t column = side.from; column < side.from + side.taps; ++column, ++tap)
          for (int64_t h = 0; h < ys.h; ++h) add(tap, h, w, h * o.stride - o.pad.top + u, column);
  };
  const auto corner = [&](const Side& a, const Side& b) {
    for (int64_t h = a.first; h < a.first + a.count; ++h)
      for (int64_t w = b.first; w < b.first + b.count; ++w)
        for (int64_t row = a.from; row < a.from + a.taps; ++row)
          for (int64_t column = b.from; column < b.from + b.taps; ++column, ++tap) add(tap, h, w, row, column);
  };
  corner(top, left), edge_rows(top), corner(top, right);
  edge_columns(left), edge_columns(right);
  corner(bottom, left), edge_rows(bottom), corner(bottom, right);

  const auto classes = [](int64_t size, const Side& before, const Side& after) {
    std::vector<int64_t> class_of(size, before.count);
    for (int64_t i = 0; i < before.count; ++i) class_of[i] = i;
    const int64_t inner = size > before.count + after.count;
    for (int64_t i = 0; i < after.count; ++i) class_of[after.first + i] = before.count + inner + i;
    return class_of;
  };
  const auto rows = classes(ys.h, top, bottom), columns = classes(ys.w, left, right);
  const int64_t column_classes = columns.back() + 1;
  each(ys, [&](int64_t, int64_t h, int64_t w, int64_t c, int64_t i) {
    y[i] += p.bias[(rows[h] * column_classes + columns[w]) * ys.c + c];
  });
  return y;
}

double nonlinear(Nonlinearity s, double x) {
  return s == Nonlinearity::relu ? std::max(x, 0.0) : std::clamp(x, 0.0, 6.0);
}

Values widened(const Tensor& tensor) {
  return {tensor.values.begin(), tensor.values.end()};
}

}  // namespace

Nhwc reference_shape(const Op& op, const std::vector<Nhwc>& input_shapes) {
  const Nhwc& x = input_shapes.at(0);
  return std::visit(Overloaded{
                        [&](const Input& o) {
                          return Nhwc{x.n, o.height, o.width, o.channels};
                        },
                        [&](const Conv2d& o) { return windowed(x, o.kernel, o.stride, o.pad, o.out); },
                        [&](const DepthwiseConv2d& o) { return windowed(x, o.kernel, o.stride, o.pad, x.c); },
                        [&](const BorderConv2d& o) { return windowed(x, o.kernel, o.stride, o.pad, o.out); },
                        [&](const MaxPool2d& o) { return windowed(x, o.kernel, o.stride, o.pad, x.c); },
                        [&](const AvgPool2d& o) { return windowed(x, o.kernel, o.stride, o.pad, x.c); },
                        [&](const Shortcut& o) { return windowed(x, 1, o.stride, o.pad, o.out); },
                        [&](const GlobalAvgPool&) {
                          return Nhwc{x.n, 1, 1, x.c};
                        },
                        [&](const Flatten&) {
                          return Nhwc{x.n, 1, 1, x.h * x.w * x.c};
                        },
                        [&](const Linear& o) {
                          return Nhwc{x.n, 1, 1, o.out};
                        },
                        [&](const BatchNorm&) { return x; },
                        [&](const AlphaAct&) { return x; },
                        [&](const Add&) { return x; },
                    },
                    op);
}

std::vector<double> reference_forward(const Op& op, const std::vector<std::vector<double>>& inputs,
                                      const std::vector<Nhwc>& input_shapes, const ReferenceParams& p) {
  const Values& x = inputs.at(0);
  const Nhwc xs = input_shapes.at(0), ys = reference_shape(op, input_shapes);
  PLEAT_CHECK(static_cast<int64_t>(x.size()) == xs.size(), "reference: ", x.size(), " values for shape ",
              to_string(xs));
  return std::visit(
      Overloaded{
          [&](const Input&) { return x; },
          [&](const Conv2d& o) { return convolve(x, xs, ys, p, o.kernel, o.stride, o.pad, o.groups); },
          [&](const DepthwiseConv2d& o) {
            return convolve(x, xs, ys, p, o.kernel, o.stride, o.pad, static_cast<int>(xs.c));
          },
          [&](const BorderConv2d& o) { return border(x, xs, ys, p, o); },
          [&](const BatchNorm& o) {
            Values y(ys.size());
            each(ys, [&](int64_t, int64_t, int64_t, int64_t c, int64_t i) {
              y[i] = p.weight[c] * (x[i] - p.running_mean[c]) / std::sqrt(p.running_var[c] + o.eps) + p.bias[c];
            });
            return y;
          },
          [&](const AlphaAct& o) {
            Values y(ys.size());
            for (size_t i = 0; i < y.size(); ++i) y[i] = p.alpha * x[i] + (1 - p.alpha) * nonlinear(o.s, x[i]);
            return y;
          },
          [&](const MaxPool2d& o) {
            Values y(ys.size(), -std::numeric_limits<double>::infinity());
            each(ys, [&](int64_t n, int64_t h, int64_t w, int64_t c, int64_t i) {
              each_tap(xs, o.kernel, o.stride, o.pad, h, w, [&](int, int, int64_t row, int64_t column) {
                y[i] = std::max(y[i], x[element(xs, n, row, column, c)]);
              });
            });
            return y;
          },
          [&](const AvgPool2d& o) {
            Values y(ys.size());
            each(ys, [&](int64_t n, int64_t h, int64_t w, int64_t c, int64_t i) {
              each_tap(xs, o.kernel, o.stride, o.pad, h, w, [&](int, int, int64_t row, int64_t column) {
                y[i] += x[element(xs, n, row, column, c)] / (o.kernel * o.kernel);
              });
            });
            return y;
          },
          [&](const GlobalAvgPool&) {
            Values y(ys.size());
            each(xs,
                 [&](int64_t n, int64_t, int64_t, int64_t c, int64_t i) { y[n * xs.c + c] += x[i] / (xs.h * xs.w); });
            return y;
          },
          [&](const Flatten&) {
            Values y(ys.size());
            each(xs, [&](int64_t n, int64_t h, int64_t w, int64_t c, int64_t i) {
              y[((n * xs.c + c) * xs.h + h) * xs.w + w] = x[i];
            });
            return y;
          },
          [&](const Linear& o) {
            Values y(ys.size());
            each(ys, [&](int64_t n, int64_t, int64_t, int64_t c, int64_t i) {
              y[i] = o.bias ? p.bias[c] : 0;
              for (int64_t k = 0; k < xs.c; ++k) y[i] += p.weight[c * xs.c + k] * x[n * xs.c + k];
            });
            return y;
          },
          [&](const Add&) {
            Values y = x;
            for (size_t i = 0; i < y.size(); ++i) y[i] += inputs.at(1).at(i);
            return y;
          },
          [&](const Shortcut& o) {
            Values y(ys.size());
            const int64_t before = (ys.c - xs.c) / 2;
            each(ys, [&](int64_t n, int64_t h, int64_t w, int64_t c, int64_t i) {
              if (c < before || c >= before + xs.c) return;
              each_tap(xs, 1, o.stride, o.pad, h, w, [&](int, int, int64_t row, int64_t column) {
                y[i] = x[element(xs, n, row, column, c - before)];
              });
            });
            return y;
          },
      },
      op);
}

ReferenceParams reference_params(const Graph& graph, int i, const Tensors& tensors) {
  const Node& node = graph.nodes.at(i);
  const auto get = [&](const char* suffix) {
    const auto found = tensors.find(node.name + suffix);
    return found == tensors.end() ? Values{} : widened(found->second);
  };
  ReferenceParams p{.weight = get(".weight"),
                    .bias = get(".bias"),
                    .running_mean = get(".running_mean"),
                    .running_var = get(".running_var")};
  if (const auto* act = std::get_if<AlphaAct>(&node.op); act && !act->alpha.empty())
    p.alpha = tensors.at(act->alpha).values.at(0);
  return p;
}

std::vector<std::vector<double>> reference_run(const Graph& graph, const Tensors& tensors, const std::vector<double>& x,
                                               int64_t n) {
  std::vector<Values> values;
  std::vector<Nhwc> shapes;
  for (int i = 0; i <= graph.output(); ++i) {
    const Node& node = graph.nodes[i];
    std::vector<Values> inputs;
    std::vector<Nhwc> input_shapes;
    for (const int input : node.inputs) {
      inputs.push_back(values[input]);
      input_shapes.push_back(shapes[input]);
    }
    if (const auto* input = std::get_if<Input>(&node.op)) {
      inputs.push_back(x);
      input_shapes.push_back({n, input->height, input->width, input->channels});
    }
    shapes.push_back(reference_shape(node.op, input_shapes));
    values.push_back(reference_forward(node.op, inputs, input_shapes, reference_params(graph, i, tensors)));
  }
  return values;
}

}  // namespace pleat::testing
