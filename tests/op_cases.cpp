#include "tests/op_cases.hpp"

#include <algorithm>
#include <limits>

#include "core/op_traits.hpp"
#include "core/parallel.hpp"
#include "ops/add.hpp"
#include "ops/alpha_act.hpp"
#include "ops/avg_pool2d.hpp"
#include "ops/batch_norm.hpp"
#include "ops/conv/border_conv2d.hpp"
#include "ops/conv/conv2d.hpp"
#include "ops/conv/depthwise_conv2d.hpp"
#include "ops/flatten.hpp"
#include "ops/global_avg_pool.hpp"
#include "ops/linear.hpp"
#include "ops/max_pool2d.hpp"
#include "ops/shortcut.hpp"
#include "ops/spec.hpp"

namespace pleat::testing {
namespace {

constexpr Padding kSame{0, 0, 1, 1};  // TensorFlow's SAME for an even picture, kernel 3, stride 2

Padding pad(int p) {
  return Padding::uniform(p);
}

// The convolution that oneDNN is asked for, if the op is one.
std::optional<Conv2d> as_conv2d(const OpCase& c) {
  if (const auto* op = std::get_if<Conv2d>(&c.op)) return *op;
  const auto* op = std::get_if<DepthwiseConv2d>(&c.op);
  if (op == nullptr) return {};
  const int channels = static_cast<int>(c.inputs[0].c);
  return Conv2d{channels, op->kernel, op->stride, op->pad, channels, op->bias};
}

// Every nonlinearity with every kind of alpha, by itself and behind a batch norm (a register, half of one, and less).
std::vector<OpCase> activation_cases() {
  std::vector<OpCase> cases;
  for (const NonlinearityRow& s : kNonlinearities)
    for (const double alpha : {0.0, 0.3125, 1.0}) {
      const AlphaAct act{.s = s.s, .alpha = alpha == 0 ? "" : "a"};
      const Nhwc shape{2, 3, 2, 27};
      cases.push_back({.op = act, .inputs = {{2, 3, 5, 7}}, .alpha = alpha});
      cases.push_back({.op = BatchNorm{}, .inputs = {shape}, .act = act, .alpha = alpha});
      cases.push_back({.op = BatchNorm{}, .inputs = {shape, shape}, .act = act, .alpha = alpha});
    }
  return cases;
}

std::vector<OpCase> joined(std::vector<OpCase> cases, const std::vector<OpCase>& more) {
  cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

}  // namespace

const std::vector<OpCase>& small_cases() {
  static const Nonlinearity relu = Nonlinearity::relu, relu6 = Nonlinearity::relu6;
  static const std::vector<OpCase> rows = {
      // out, kernel, stride, pad, groups, bias
      {Conv2d{5, 1, 1, {}, 1, true}, {{2, 5, 3, 7}}},
      {Conv2d{6, 1, 1, {}, 2, true}, {{3, 4, 5, 4}}},
      {Conv2d{3, 1, 2, {}, 1, false}, {{2, 7, 5, 4}}},
      {Conv2d{4, 1, 1, pad(1), 1, true}, {{2, 3, 4, 3}}},  // the border is bias alone
      {Conv2d{16, 3, 1, pad(1), 1, false}, {{2, 6, 5, 16}}},
      {Conv2d{7, 3, 1, {}, 1, true}, {{1, 6, 7, 5}}},
      {Conv2d{8, 3, 2, pad(1), 1, true}, {{2, 7, 5, 3}}},
      {Conv2d{8, 3, 2, kSame, 1, false}, {{1, 8, 6, 4}}},
      {Conv2d{4, 3, 2, {1, 0, 2, 3}, 1, true}, {{3, 5, 6, 3}}},
      {Conv2d{4, 2, 3, {}, 1, true}, {{2, 7, 9, 3}}},  // pixels that nothing sees
      {Conv2d{4, 3, 1, pad(1), 4, true}, {{2, 5, 6, 8}}},
      {Conv2d{6, 3, 2, {0, 1, 1, 0}, 3, false}, {{2, 7, 6, 6}}},
      {Conv2d{3, 5, 1, pad(2), 1, true}, {{2, 3, 4, 4}}},
      {Conv2d{4, 7, 2, pad(3), 1, false}, {{1, 11, 9, 3}}},
      {Conv2d{3, 7, 1, pad(3), 1, true}, {{2, 2, 3, 2}}},   // the kernel is larger than the picture
      {Conv2d{4, 3, 1, pad(1), 1, true}, {{3, 9, 8, 96}}},  // several tiles, some across pictures
      {DepthwiseConv2d{3, 1, pad(1), true}, {{2, 5, 6, 5}}},
      {DepthwiseConv2d{3, 1, {}, false}, {{1, 4, 7, 37}}},
      {DepthwiseConv2d{3, 2, pad(1), false}, {{2, 7, 5, 16}}},
      {DepthwiseConv2d{3, 2, kSame, true}, {{3, 6, 8, 4}}},
      {DepthwiseConv2d{5, 2, {1, 2, 2, 1}, true}, {{2, 6, 7, 3}}},
      {DepthwiseConv2d{7, 1, pad(3), true}, {{2, 3, 4, 6}}},
      {DepthwiseConv2d{2, 3, {}, false}, {{2, 8, 7, 3}}},
      {DepthwiseConv2d{1, 1, pad(1), true}, {{2, 3, 2, 3}}},
      {DepthwiseConv2d{3, 1, pad(1), true}, {{2, 5, 6, 40}}},  // channels that end inside a register
      {DepthwiseConv2d{3, 1, {0, 2, 1, 0}, false}, {{1, 7, 9, 17}}},
      {DepthwiseConv2d{3, 1, pad(4), true}, {{1, 3, 2, 33}}},
      {DepthwiseConv2d{3, 2, pad(1), true}, {{2, 9, 7, 17}}},
      {DepthwiseConv2d{3, 2, kSame, false}, {{2, 8, 10, 40}}},
      {DepthwiseConv2d{3, 2, {1, 0, 0, 1}, true}, {{2, 7, 8, 33}}},  // rows and columns out of step
      {DepthwiseConv2d{5, 1, pad(2), true}, {{2, 6, 7, 40}}},
      {DepthwiseConv2d{5, 2, pad(2), false}, {{2, 9, 6, 17}}},
      {DepthwiseConv2d{5, 2, {1, 1, 2, 2}, true}, {{1, 8, 9, 33}}},
      {DepthwiseConv2d{7, 2, {3, 2, 2, 3}, true}, {{1, 9, 8, 17}}},
      // out, kernel, stride, pad, groups, ring, reach
      {BorderConv2d{5, 5, 1, pad(2), 1, pad(1), pad(1)}, {{2, 7, 6, 3}}},
      {BorderConv2d{70, 3, 1, pad(1), 1, pad(1), {}}, {{2, 4, 5, 3}}},  // bias alone; several blocks of outputs
      {BorderConv2d{68, 5, 1, pad(2), 1, {1, 0, 0, 2}, {1, 0, 0, 2}}, {{1, 6, 5, 2}}},
      {BorderConv2d{20, 5, 1, pad(2), 2, pad(1), pad(1)}, {{9, 4, 5, 6}}},  // pictures by fours, and one left
      {BorderConv2d{4, 7, 2, {3, 2, 1, 3}, 2, {1, 2, 1, 1}, {2, 3, 1, 2}}, {{2, 11, 9, 6}}},
      {BorderConv2d{6, 3, 1, {-1, 1, 0, -1}, 6, pad(1), pad(2)}, {{2, 7, 6, 6}}},      // crops; depthwise
      {BorderConv2d{3, 7, 1, pad(3), 1, {2, 3, 0, 0}, {2, 3, 0, 0}}, {{3, 2, 3, 4}}},  // all is ring
      {BatchNorm{}, {{2, 3, 5, 7}}},
      {BatchNorm{1, 0.01}, {{1, 2, 1, 1}}},  // of two pixels little but eps is left in the gradient
      {BatchNorm{}, {{2, 4, 3, 5}}, AlphaAct{relu, "a"}},
      {BatchNorm{}, {{2, 3, 2, 27}}, AlphaAct{relu6, ""}},  // a register, half of one, and less
      {BatchNorm{}, {{2, 4, 3, 5}, {2, 4, 3, 5}}},
      {BatchNorm{}, {{2, 3, 3, 6}, {2, 3, 3, 6}}, AlphaAct{relu6, "a"}},
      {BatchNorm{}, {{2, 3, 5, 7}}, {}, true},
      {BatchNorm{}, {{2, 3, 3, 6}, {2, 3, 3, 6}}, AlphaAct{relu, "a"}, true},
      {MaxPool2d{2, 2, {}}, {{2, 5, 6, 3}}},
      {MaxPool2d{3, 2, pad(1)}, {{2, 7, 5, 5}}},
      {MaxPool2d{3, 1, {0, 2, 1, 0}}, {{1, 4, 5, 17}}},
      {AvgPool2d{2, 2, {}}, {{2, 5, 6, 3}}},
      {AvgPool2d{3, 2, pad(1)}, {{2, 7, 5, 5}}},
      {AvgPool2d{3, 1, {0, 2, 1, 0}}, {{1, 4, 5, 17}}},
      {GlobalAvgPool{}, {{3, 5, 3, 7}}},
      {Flatten{}, {{2, 3, 4, 5}}},
      {Linear{5, true}, {{3, 1, 1, 7}}},
      {Linear{10, false}, {{1, 1, 1, 33}}},
      {Add{}, {{2, 3, 5, 7}, {2, 3, 5, 7}}},
      {Shortcut{9, 2, {}}, {{2, 5, 6, 4}}},
      {Shortcut{4, 1, {1, 2, 0, 1}}, {{2, 3, 4, 4}}},
      {Shortcut{6, 2, {-1, -1, -2, 0}}, {{2, 7, 6, 3}}},
  };
  static const std::vector<OpCase> cases = joined(rows, activation_cases());
  return cases;
}

const std::vector<OpCase>& bench_cases() {
  static const AlphaAct act{Nonlinearity::relu, "a"};
  static const std::vector<OpCase> rows = {
      {Conv2d{16, 3, 1, pad(1), 1, false}, {{128, 32, 32, 3}}},  // ResNet-20 on CIFAR-10
      {Conv2d{16, 3, 1, pad(1), 1, false}, {{128, 32, 32, 16}}},
      {Conv2d{32, 3, 2, pad(1), 1, false}, {{128, 32, 32, 16}}},
      {Conv2d{32, 3, 1, pad(1), 1, false}, {{128, 16, 16, 32}}},
      {Conv2d{64, 3, 1, pad(1), 1, false}, {{128, 8, 8, 64}}},
      {Conv2d{512, 3, 1, pad(1), 1, false}, {{16, 4, 4, 512}}},  // VGG
      {Conv2d{144, 1, 1, {}, 1, false}, {{8, 56, 56, 24}}},      // MobileNetV2
      {DepthwiseConv2d{3, 1, pad(1), false}, {{8, 56, 56, 144}}},
      {DepthwiseConv2d{3, 2, pad(1), false}, {{8, 56, 56, 144}}},
      {DepthwiseConv2d{5, 1, pad(2), false}, {{8, 14, 14, 672}}},              // EfficientNet
      {BorderConv2d{16, 5, 1, pad(2), 1, pad(1), pad(1)}, {{1, 32, 32, 16}}},  // blocks of ResNet-20, merged,
      {Conv2d{16, 5, 1, pad(2), 1, false}, {{1, 32, 32, 16}}},                 // and the convolution it is added to
      {BorderConv2d{64, 5, 1, pad(2), 1, pad(1), pad(1)}, {{1, 8, 8, 64}}},
      {Conv2d{64, 5, 1, pad(2), 1, false}, {{1, 8, 8, 64}}},
      {BorderConv2d{96, 3, 1, pad(1), 1, pad(1), {}}, {{1, 14, 14, 96}}},  // a block of MobileNetV2, merged
      {Conv2d{96, 3, 1, pad(1), 1, false}, {{1, 14, 14, 96}}},
      {BatchNorm{}, {{128, 32, 32, 16}}},
      {BatchNorm{}, {{128, 32, 32, 16}, {128, 32, 32, 16}}, act},
      {MaxPool2d{2, 2, {}}, {{128, 32, 32, 64}}},
      {AvgPool2d{2, 2, {}}, {{128, 32, 32, 64}}},
      {GlobalAvgPool{}, {{128, 8, 8, 64}}},
      {Shortcut{32, 2, {}}, {{128, 32, 32, 16}}},
      {Add{}, {{128, 32, 32, 16}, {128, 32, 32, 16}}},
      {Linear{10, true}, {{128, 1, 1, 64}}},
  };
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all = rows;
    for (const NonlinearityRow& s : kNonlinearities)
      all.push_back({.op = AlphaAct{s.s, "a"}, .inputs = {{128, 32, 32, 16}}});
    return all;
  }();
  return cases;
}

Graph graph_of(const OpCase& c) {
  const Nhwc& x = c.inputs[0];
  Graph graph;
  graph.add("x", Input{static_cast<int>(x.c), static_cast<int>(x.h), static_cast<int>(x.w)}, {});
  graph.add("op", c.op, std::vector<int>(std::holds_alternative<Add>(c.op) ? 2 : 1, 0));
  return graph;
}

std::string describe(const OpCase& c) {
  std::string text = to_text(graph_of(c), 1) + " on " + to_string(c.inputs[0]);
  if (c.inputs.size() == 2 && !std::holds_alternative<Add>(c.op)) text += " + residual";
  if (c.act) text += std::string(" + ") + row(c.act->s).name + " " + c.act->alpha;
  if (c.alpha == 1) text += ", alpha 1";
  if (c.evaluation) text += ", evaluation";
  return text;
}

bool is_convolution(const OpCase& c) {
  return as_conv2d(c).has_value();
}

namespace {

// Convolutions of our own and linear layers compute in no Bf16.
template <class T>
constexpr bool kHasNative = !std::is_same_v<T, Bf16>;

// A buffer in the type that is computed in, for ops that leave Bf16: what they write goes back at the end.
template <class T>
class Computed {
 public:
  explicit Computed(std::vector<T>& values) : values_(values), computed_(values.begin(), values.end()) {}
  ~Computed() { std::copy(computed_.begin(), computed_.end(), values_.begin()); }
  Computed(const Computed&) = delete;
  Computed& operator=(const Computed&) = delete;
  template <class C>
  operator std::span<C>() {
    return computed_;
  }

 private:
  std::vector<T>& values_;
  std::vector<compute_t<T>> computed_;
};
template <class T>
auto computed(std::vector<T>& values) {
  if constexpr (std::is_same_v<T, compute_t<T>>)
    return std::span<T>(values);
  else
    return Computed<T>(values);
}

}  // namespace

template <class T>
OpRun<T>::OpRun(const OpCase& c, Kernels kernels) : case_(c) {
  const C nan = std::numeric_limits<C>::quiet_NaN();
  const Graph graph = graph_of(c);
  const int64_t batch = c.inputs[0].n, channels = c.inputs[0].c;
  for (const Nhwc& shape : c.inputs) inputs.emplace_back(shape.size(), T(nan));
  dinputs = inputs;
  y.assign(infer_shapes(graph, batch).back().size(), T(nan));
  dy = y;
  for (const Parameter& p : parameters(graph)) {
    const std::vector<C> values(num_elements(p.shape), nan);
    switch (p.role) {
      case Role::weight:
      case Role::norm_weight:
        params.weight = values;
        break;
      case Role::bias:
      case Role::norm_bias:
        params.bias = values;
        break;
      case Role::running_mean:
        params.running_mean = values;
        break;
      case Role::running_var:
        params.running_var = values;
        break;
      case Role::alpha:
        break;
    }
  }
  dparams = params;
  int64_t workspace = 0;
  if (const auto* op = std::get_if<Conv2d>(&c.op)) workspace = conv2d_workspace(c.inputs[0], *op);
  if (const auto* op = std::get_if<DepthwiseConv2d>(&c.op)) workspace = depthwise_conv2d_workspace(c.inputs[0], *op);
  workspace_.assign(workspace, nan);
  if (std::holds_alternative<BatchNorm>(c.op)) saved_.emplace(channels);
  if constexpr (!std::is_same_v<T, double>)
    if (kernels == Kernels::onednn)
      onednn_ = std::make_unique<OnednnConv2d<T>>(c.inputs[0], as_conv2d(c).value(), kAllPasses);
}

// Calls body(rows, thread) in every thread; rows(values) are the thread's pixels of them.
template <class T>
template <class Body>
void OpRun<T>::for_rows(const Body& body) const {
  const int64_t channels = case_.inputs[0].c;
  parallel_for(case_.inputs[0].pixels(), [&](int64_t begin, int64_t end, int thread) {
    body([&](auto all) { return all.empty() ? all : all.subspan(begin * channels, (end - begin) * channels); }, thread);
  });
}

template <class T>
BatchNormTail<T> OpRun<T>::tail(const auto& rows) const {
  BatchNormTail<T> tail;
  tail.alpha = params.alpha;
  if (inputs.size() == 2) tail.residual = rows(std::span<const T>(inputs[1]));
  if (case_.act) tail.act = &*case_.act;
  return tail;
}

template <class T>
void OpRun<T>::forward() {
  const Nhwc& shape = case_.inputs[0];
  const std::vector<T>& x = inputs[0];
  const OpParams<C>& p = params;
  if constexpr (!std::is_same_v<T, double>)
    if (onednn_) {
      onednn_->begin_forward(p.weight);
      return onednn_->forward(y, x, p.bias, {});
    }
  visit_op(
      Overloaded{
          [&](const Input&) { y = x; },
          [&](const Conv2d& op) {
            if constexpr (kHasNative<T>) conv2d_forward<T>(y, x, p.weight, p.bias, shape, op, workspace_);
          },
          [&](const DepthwiseConv2d& op) {
            depthwise_conv2d_forward<T>(y, x, p.weight, p.bias, shape, op, workspace_);
          },
          [&](const BorderConv2d& op) { border_conv2d_forward<T>(y, x, p.weight, p.bias, shape, op); },
          [&](const BatchNorm& op) {
            const std::span<const T> all = x;
            if (case_.evaluation) {
              batch_norm_running<T>(*saved_, p.running_mean, p.running_var, op);
            } else {
              for_rows([&](const auto& rows, int thread) { batch_norm_add_statistics<T>(*saved_, rows(all), thread); });
              batch_norm_finish_statistics<T>(*saved_, params.running_mean, params.running_var, op);
            }
            for_rows([&](const auto& rows, int) {
              batch_norm_forward<T>(rows(std::span(y)), rows(all), tail(rows), *saved_, {p.weight, p.bias});
            });
          },
          [&](const AlphaAct& op) { alpha_act_forward<T>(y, x, p.alpha, op.s); },
          [&](const MaxPool2d& op) { max_pool2d_forward<T>(y, x, shape, op); },
          [&](const AvgPool2d& op) { avg_pool2d_forward<T>(y, x, shape, op); },
          [&](const GlobalAvgPool&) { global_avg_pool_forward<T>(computed(y), x, shape); },
          [&](const Flatten&) { flatten_forward<T>(computed(y), x, shape); },
          [&](const Linear& op) {
            if constexpr (kHasNative<T>) linear_forward<T>(y, x, p.weight, p.bias, shape.n, shape.c, op);
          },
          [&](const Add&) { add_forward<T>(y, x, inputs[1]); },
          [&](const Shortcut& op) { shortcut_forward<T>(y, x, shape, op); },
      },
      case_.op);
}

template <class T>
void OpRun<T>::backward() {
  const Nhwc& shape = case_.inputs[0];
  const std::vector<T>& x = inputs[0];
  std::vector<T>& dx = dinputs[0];
  const OpParams<C>& p = params;
  if constexpr (!std::is_same_v<T, double>)
    if (onednn_) {
      onednn_->begin_backward(p.weight, dparams.weight, dparams.bias);
      onednn_->backward_data(dx, dy, {});
      onednn_->backward_weights(dy, x, {});
      return onednn_->end_backward();
    }
  visit_op(Overloaded{
               [&](const Input&) { dx = dy; },
               [&](const Conv2d& op) {
                 if constexpr (kHasNative<T>) {
                   conv2d_backward_data<T>(dx, dy, p.weight, shape, op, workspace_);
                   conv2d_backward_weights<T>(dparams.weight, dparams.bias, dy, x, shape, op, workspace_);
                 }
               },
               [&](const DepthwiseConv2d& op) {
                 depthwise_conv2d_backward_data<T>(dx, dy, p.weight, shape, op, workspace_);
                 depthwise_conv2d_backward_weights<T>(dparams.weight, dparams.bias, dy, x, shape, op, workspace_);
               },
               [&](const BorderConv2d& op) {
                 border_conv2d_backward_data<T>(dx, dy, p.weight, shape, op);
                 border_conv2d_backward_weights<T>(dparams.weight, dparams.bias, dy, x, shape, op);
               },
               [&](const BatchNorm&) {
                 const bool residual = dinputs.size() == 2;
                 const std::span<T> dz = residual ? std::span<T>(dinputs[1]) : std::span<T>{};
                 const std::span<const T> all = x, all_dy = dy;
                 const BatchNormParams<T> norm{p.weight, p.bias};
                 for_rows([&](const auto& rows, int thread) {
                   batch_norm_backward_sums<T>(*saved_, rows(dz), rows(all_dy), rows(all), tail(rows), norm, thread);
                 });
                 batch_norm_backward_finish<T>(*saved_, case_.act ? &dparams.alpha : nullptr, dparams.weight,
                                               dparams.bias, norm, shape);
                 for_rows([&](const auto& rows, int) {
                   batch_norm_backward_dx<T>(rows(std::span(dx)), rows(residual ? std::span<const T>(dz) : all_dy),
                                             rows(all), residual ? BatchNormTail<T>{} : tail(rows), *saved_, norm);
                 });
               },
               [&](const AlphaAct& op) { alpha_act_backward<T>(dx, dparams.alpha, dy, x, p.alpha, op.s); },
               [&](const MaxPool2d& op) { max_pool2d_backward<T>(dx, dy, x, shape, op); },
               [&](const AvgPool2d& op) { avg_pool2d_backward<T>(dx, dy, shape, op); },
               [&](const GlobalAvgPool&) { global_avg_pool_backward<T>(dx, computed(dy), shape); },
               [&](const Flatten&) { flatten_backward<T>(dx, computed(dy), shape); },
               [&](const Linear& op) {
                 if constexpr (kHasNative<T>)
                   linear_backward<T>(dx, dparams.weight, dparams.bias, dy, x, p.weight, shape.n, shape.c, op);
               },
               [&](const Add&) {
                 dinputs = {dy, dy};
               },  // the executor passes dy on: there is no kernel
               [&](const Shortcut& op) { shortcut_backward<T>(dx, dy, shape, op); },
           },
           case_.op);
}

template class OpRun<float>;
template class OpRun<double>;
template class OpRun<Bf16>;

}  // namespace pleat::testing
