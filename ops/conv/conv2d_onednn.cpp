#include "ops/conv/conv2d_onednn.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/check.hpp"
#include "core/onednn.hpp"
#include "ops/add.hpp"
#include "ops/conv/convolution.hpp"
#include "ops/conv/window.hpp"

namespace pleat {
namespace {

using dnnl::memory;

constexpr const char* kName = "conv2d (oneDNN)";

memory allocate(const onednn::Desc& desc) {
  return {desc, onednn::engine()};
}

// Memory whose buffer is set later: at each call for what the caller owns. Its size is noted, because asking oneDNN 3
// for it allocates.
struct Unbound {
  memory mem;
  std::size_t bytes = 0;

  Unbound() = default;
  explicit Unbound(const onednn::Desc& desc) : mem(desc, onednn::engine(), nullptr), bytes(desc.get_size()) {}

  // oneDNN takes no const handles, but what a primitive reads it does not write.
  template <class T>
  void bind(std::span<const T> buffer, const char* what) {
    check_size(kName, what, buffer.size(), static_cast<int64_t>(bytes / sizeof(T)));
    mem.set_data_handle(const_cast<T*>(buffer.data()));
  }
};

// A primitive with its arguments, which it does not own. The C interface takes them as an array; the C++ one would
// allocate that array at every call.
class Call {
 public:
  Call() = default;
  Call(dnnl::primitive primitive, const std::vector<std::pair<int, memory>>& args) : primitive_(std::move(primitive)) {
    for (const auto& [index, argument] : args)
      if (argument.get_desc().get_size() != 0) args_.push_back({index, argument.get()});
  }
  void run() const {
    PLEAT_CHECK(primitive_, kName, ": a pass that was not asked for at construction");
    dnnl::error::wrap_c_api(
        dnnl_primitive_execute(primitive_.get(), onednn::stream().get(), static_cast<int>(args_.size()), args_.data()),
        "conv2d (oneDNN): could not run");
  }

 private:
  dnnl::primitive primitive_;
  std::vector<dnnl_exec_arg_t> args_;
};

Call reorder(const memory& from, const memory& to, const dnnl::primitive_attr& attr = {}) {
  return {dnnl::reorder(from, to, attr), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}}};
}

dnnl::primitive_attr accumulate() {
  dnnl::post_ops ops;
  ops.append_sum(1.0f);
  dnnl::primitive_attr attr;
  attr.set_post_ops(ops);
  return attr;
}

template <class T>
onednn::Convolution sizes(const Nhwc& x, const Conv2d& op) {
  return {.x = x,
          .y = slide(x, op.out, op.kernel, op.stride, op.pad),
          .kernel = op.kernel,
          .stride = op.stride,
          .pad = op.pad,
          .groups = op.groups,
          .bias = op.bias,
          .type = std::is_same_v<T, Bf16> ? memory::data_type::bf16 : memory::data_type::f32};
}

}  // namespace

// `x` and `y` stand for their gradients too. Packed weights are in the order that the primitive asked for.
template <class T>
struct OnednnConv2d<T>::Impl {
  Unbound x, y, weight, bias, gradient, piece_dbias;
  memory forward_weight, backward_weight;
  Unbound piece_dweight, sum_dweight;  // of one piece, and of all so far
  AlignedVector<float> piece_buffer, sum_buffer, dbias_buffer;
  Call pack_forward, forward;
  Call pack_backward, backward_data;
  Call backward_weights, unpack_dweight;
  AlignedVector<std::byte> scratchpad;  // shared by the three primitives: one runs at a time
  std::vector<memory> scratchpads;
  std::span<float> dbias;
  int pieces = 0;  // gathered so far

  Impl(const onednn::Convolution& c, const ConvPasses& passes)
      : x(onednn::activation(c.x, c.type)),
        y(onednn::activation(c.y, c.type)),
        weight(onednn::weights(c, onednn::Type::f32, false)),
        bias(onednn::bias(c)),
        gradient(onednn::weights(c, onednn::Type::f32, false)),
        piece_dbias(onednn::bias(c)) {
    const bool training = passes.backward_data || passes.backward_weights;
    const auto forward_pd =
        onednn::forward(c, training ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference);
    if (passes.forward) {
      forward_weight = allocate(forward_pd.weights_desc());
      pack_forward = reorder(weight.mem, forward_weight);
      forward = {dnnl::convolution_forward(forward_pd),
                 {{DNNL_ARG_SRC, x.mem},
                  {DNNL_ARG_WEIGHTS, forward_weight},
                  {DNNL_ARG_BIAS, bias.mem},
                  {DNNL_ARG_DST, y.mem},
                  {DNNL_ARG_SCRATCHPAD, add_scratchpad(forward_pd.scratchpad_desc())}}};
    }
    if (passes.backward_weights) {
      const auto pd = onednn::backward_weights(c, forward_pd);
      piece_dweight = Unbound(pd.diff_weights_desc());
      sum_dweight = Unbound(pd.diff_weights_desc());
      piece_buffer.resize(piece_dweight.bytes / sizeof(float));
      sum_buffer.resize(piece_buffer.size());
      sum_dweight.mem.set_data_handle(sum_buffer.data());
      dbias_buffer.resize(piece_dbias.bytes / sizeof(float));
      piece_dbias.mem.set_data_handle(dbias_buffer.data());
      unpack_dweight = reorder(sum_dweight.mem, gradient.mem, accumulate());
      backward_weights = {dnnl::convolution_backward_weights(pd),
                          {{DNNL_ARG_SRC, x.mem},
                           {DNNL_ARG_DIFF_DST, y.mem},
                           {DNNL_ARG_DIFF_WEIGHTS, piece_dweight.mem},
                           {DNNL_ARG_DIFF_BIAS, piece_dbias.mem},
                           {DNNL_ARG_SCRATCHPAD, add_scratchpad(pd.scratchpad_desc())}}};
    }
    if (passes.backward_data) {
      const auto pd = onednn::backward_data(c, forward_pd);
      backward_weight = allocate(pd.weights_desc());
      pack_backward = reorder(weight.mem, backward_weight);
      backward_data = {dnnl::convolution_backward_data(pd),
                       {{DNNL_ARG_DIFF_DST, y.mem},
                        {DNNL_ARG_WEIGHTS, backward_weight},
                        {DNNL_ARG_DIFF_SRC, x.mem},
                        {DNNL_ARG_SCRATCHPAD, add_scratchpad(pd.scratchpad_desc())}}};
    }
    for (memory& part : scratchpads) part.set_data_handle(scratchpad.data());
  }

  memory add_scratchpad(const onednn::Desc& desc) {
    scratchpad.resize(std::max(scratchpad.size(), desc.get_size()));
    return scratchpads.emplace_back(desc, onednn::engine(), nullptr);
  }
};

template <class T>
OnednnConv2d<T>::OnednnConv2d(const Nhwc& x_shape, const Conv2d& op, const ConvPasses& passes) {
  try {
    impl_ = std::make_unique<Impl>(sizes<T>(x_shape, op), passes);
  } catch (const dnnl::error& error) {
    throw std::invalid_argument(concat(kName, " on ", to_string(x_shape), ", out=", op.out, " kernel=", op.kernel,
                                       " stride=", op.stride, " groups=", op.groups,
                                       std::is_same_v<T, Bf16> ? " in bf16: " : ": ", error.what()));
  }
}
template <class T>
OnednnConv2d<T>::~OnednnConv2d() = default;

template <class T>
void OnednnConv2d<T>::begin_forward(std::span<const float> weight) {
  impl_->weight.bind(weight, "weight");
  impl_->pack_forward.run();
}

template <class T>
void OnednnConv2d<T>::forward(std::span<T> y, std::span<const T> x, std::span<const float> bias,
                              const Piece& /*piece*/) {
  impl_->y.bind(std::span<const T>(y), "y");
  impl_->x.bind(x, "x");
  impl_->bias.bind(bias, "bias");
  impl_->forward.run();
}

template <class T>
void OnednnConv2d<T>::begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) {
  impl_->gradient.bind(std::span<const float>(dweight), "dweight");
  check_size(kName, "dbias", dbias.size(), static_cast<int64_t>(impl_->piece_dbias.bytes / sizeof(float)));
  impl_->dbias = dbias;
  impl_->pieces = 0;
  if (!impl_->backward_weight) return;  // backward_data was not asked for
  impl_->weight.bind(weight, "weight");
  impl_->pack_backward.run();
}

template <class T>
void OnednnConv2d<T>::backward_data(std::span<T> dx, std::span<const T> dy, const Piece& /*piece*/) {
  impl_->x.bind(std::span<const T>(dx), "dx");
  impl_->y.bind(dy, "dy");
  impl_->backward_data.run();
}

template <class T>
void OnednnConv2d<T>::backward_weights(std::span<const T> dy, std::span<const T> x, const Piece& /*piece*/) {
  impl_->y.bind(dy, "dy");
  impl_->x.bind(x, "x");
  AlignedVector<float>&piece = impl_->piece_buffer, &sum = impl_->sum_buffer;  // the first piece needs no addition
  if (impl_->pieces == 0) impl_->piece_dweight.mem.set_data_handle(sum.data());
  if (impl_->pieces == 1) impl_->piece_dweight.mem.set_data_handle(piece.data());
  impl_->backward_weights.run();
  if (impl_->pieces++ > 0) add_forward<float>(sum, sum, piece);
  for (std::size_t i = 0; i < impl_->dbias.size(); ++i) impl_->dbias[i] += impl_->dbias_buffer[i];
}

template <class T>
void OnednnConv2d<T>::end_backward() {
  impl_->unpack_dweight.run();
}

template class OnednnConv2d<float>;
template class OnednnConv2d<Bf16>;

}  // namespace pleat
