#include "ops/conv2d_onednn.hpp"

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "core/check.hpp"
#include "core/onednn.hpp"
#include "ops/window.hpp"

namespace pleat {
namespace {

using dnnl::memory;

memory allocate(const onednn::Desc& desc) {
  return {desc, onednn::engine()};
}

// Memory whose buffer is set later: at each call for what the caller owns.
memory unbound(const onednn::Desc& desc) {
  return {desc, onednn::engine(), nullptr};
}

// Points `to` at the caller's buffer. oneDNN takes no const handles, but what a primitive reads it does not write.
void bind(memory& to, std::span<const float> buffer, const char* what) {
  const std::size_t expected = to.get_desc().get_size() / sizeof(float);
  PLEAT_CHECK(buffer.size() == expected, "conv2d (oneDNN): ", what, " has ", buffer.size(), " elements, expected ",
              expected);
  to.set_data_handle(const_cast<float*>(buffer.data()));
}

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
    PLEAT_CHECK(primitive_, "conv2d (oneDNN): a backward pass that was not asked for at construction");
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

onednn::Convolution sizes(const Nhwc& x, const Conv2d& op) {
  return {x, slide(x, op.out, op.kernel, op.stride, op.pad), op.kernel, op.stride, op.pad, op.groups, op.bias};
}

}  // namespace

// `x` and `y` stand for their gradients too. Packed weights are in the order that the primitive asked for.
struct OnednnConv2d::Impl {
  memory x, y, weight, bias;
  memory forward_weight, backward_weight, dweight, dbias;
  Call pack_forward, forward;
  Call pack_backward, backward_data;
  Call backward_weights, unpack_dweight;
  AlignedVector<std::byte> scratchpad;  // shared by the three primitives: one runs at a time
  std::vector<memory> scratchpads;

  Impl(const onednn::Convolution& c, bool training, bool needs_dx)
      : x(unbound(onednn::activation(c.x))),
        y(unbound(onednn::activation(c.y))),
        weight(unbound(onednn::weights(c, false))),
        bias(unbound(onednn::bias(c))) {
    const auto forward_pd =
        onednn::forward(c, training ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference);
    forward_weight = allocate(forward_pd.weights_desc());
    pack_forward = reorder(weight, forward_weight);
    forward = {dnnl::convolution_forward(forward_pd),
               {{DNNL_ARG_SRC, x},
                {DNNL_ARG_WEIGHTS, forward_weight},
                {DNNL_ARG_BIAS, bias},
                {DNNL_ARG_DST, y},
                {DNNL_ARG_SCRATCHPAD, add_scratchpad(forward_pd.scratchpad_desc())}}};
    if (training) {
      const auto pd = onednn::backward_weights(c, forward_pd);
      dweight = allocate(pd.diff_weights_desc());
      dbias = allocate(onednn::bias(c));
      unpack_dweight = reorder(dweight, weight, accumulate());
      backward_weights = {dnnl::convolution_backward_weights(pd),
                          {{DNNL_ARG_SRC, x},
                           {DNNL_ARG_DIFF_DST, y},
                           {DNNL_ARG_DIFF_WEIGHTS, dweight},
                           {DNNL_ARG_DIFF_BIAS, dbias},
                           {DNNL_ARG_SCRATCHPAD, add_scratchpad(pd.scratchpad_desc())}}};
    }
    if (training && needs_dx) {
      const auto pd = onednn::backward_data(c, forward_pd);
      backward_weight = allocate(pd.weights_desc());
      pack_backward = reorder(weight, backward_weight);
      backward_data = {dnnl::convolution_backward_data(pd),
                       {{DNNL_ARG_DIFF_DST, y},
                        {DNNL_ARG_WEIGHTS, backward_weight},
                        {DNNL_ARG_DIFF_SRC, x},
                        {DNNL_ARG_SCRATCHPAD, add_scratchpad(pd.scratchpad_desc())}}};
    }
    for (memory& part : scratchpads) part.set_data_handle(scratchpad.data());
  }

  memory add_scratchpad(const onednn::Desc& desc) {
    scratchpad.resize(std::max(scratchpad.size(), desc.get_size()));
    return scratchpads.emplace_back(unbound(desc));
  }
};

OnednnConv2d::OnednnConv2d(const Nhwc& x_shape, const Conv2d& op, bool training, bool needs_dx) {
  try {
    impl_ = std::make_unique<Impl>(sizes(x_shape, op), training, needs_dx);
  } catch (const dnnl::error& error) {
    throw std::invalid_argument(concat("conv2d (oneDNN) on ", to_string(x_shape), ", out=", op.out, " kernel=",
                                       op.kernel, " stride=", op.stride, " groups=", op.groups, ": ", error.what()));
  }
}
OnednnConv2d::OnednnConv2d(OnednnConv2d&&) noexcept = default;
OnednnConv2d& OnednnConv2d::operator=(OnednnConv2d&&) noexcept = default;
OnednnConv2d::~OnednnConv2d() = default;

void OnednnConv2d::forward(std::span<float> y, std::span<const float> x, std::span<const float> weight,
                           std::span<const float> bias) {
  bind(impl_->y, y, "y");
  bind(impl_->x, x, "x");
  bind(impl_->weight, weight, "weight");
  bind(impl_->bias, bias, "bias");
  impl_->pack_forward.run();
  impl_->forward.run();
}

void OnednnConv2d::backward_data(std::span<float> dx, std::span<const float> dy, std::span<const float> weight) {
  bind(impl_->x, dx, "dx");
  bind(impl_->y, dy, "dy");
  bind(impl_->weight, weight, "weight");
  impl_->pack_backward.run();
  impl_->backward_data.run();
}

void OnednnConv2d::backward_weights(std::span<float> dweight, std::span<float> dbias, std::span<const float> dy,
                                    std::span<const float> x) {
  bind(impl_->weight, dweight, "dweight");
  bind(impl_->bias, dbias, "dbias");
  bind(impl_->y, dy, "dy");
  bind(impl_->x, x, "x");
  impl_->backward_weights.run();
  impl_->unpack_dweight.run();
  const auto* sum = static_cast<const float*>(dbias.empty() ? nullptr : impl_->dbias.get_data_handle());
  for (std::size_t i = 0; i < dbias.size(); ++i) dbias[i] += sum[i];
}

}  // namespace pleat
