#include "ops/conv/conv2d_onednn.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/check.hpp"
#include "core/onednn.hpp"
#include "core/onednn_slices.hpp"
#include "core/parallel.hpp"
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
  dnnl_status_t run() const {
    return dnnl_primitive_execute(primitive_.get(), onednn::stream().get(), static_cast<int>(args_.size()),
                                  args_.data());
  }

 private:
  dnnl::primitive primitive_;
  std::vector<dnnl_exec_arg_t> args_;
};

void check_status(dnnl_status_t status) {
  dnnl::error::wrap_c_api(status, "conv2d (oneDNN): could not run");
}

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

// Weights, or their gradient, in an order that primitives ask for. Slices of different shapes may ask for different
// orders.
struct Packed {
  memory mem;
  Call reorder;  // to or from Pleat's order
};

// The one of `all` that is in this order; make(order) makes it if there is none yet.
template <class Make>
Packed& in_order(std::vector<Packed>& all, const onednn::Desc& order, const Make& make) {
  for (Packed& packed : all)
    if (packed.mem.get_desc() == order) return packed;
  return all.emplace_back(make(order));
}

}  // namespace

// One call of oneDNN, for one slice. In the backward passes `x` or `y` is the gradient of x or y.
template <class T>
struct OnednnConv2d<T>::SliceCall {
  onednn::Slice slice;
  Unbound x, y;
  AlignedVector<std::byte> scratchpad;
  memory scratchpad_memory;
  Call call;
  // For the gradients of weights and bias: that of one piece, and the sum over all pieces so far.
  Unbound dweight, dbias;
  AlignedVector<float> piece_dweight, sum_dweight, piece_dbias;
  std::size_t order = 0;  // among the gradients' orders

  SliceCall(const onednn::Slice& slice_, onednn::Type type)
      : slice(slice_), x(onednn::activation(slice.x, type)), y(onednn::activation(slice.y, type)) {}

  memory own_scratchpad(const onednn::Desc& desc) {
    scratchpad.resize(desc.get_size());
    return scratchpad_memory = {desc, onednn::engine(), scratchpad.data()};
  }
  dnnl_status_t run(const T* x_data, const T* y_data) {
    x.bind(std::span(x_data + slice.x_offset, static_cast<std::size_t>(slice.x.size())), "x");
    y.bind(std::span(y_data + slice.y_offset, static_cast<std::size_t>(slice.y.size())), "y");
    return call.run();
  }
};

template <class T>
struct OnednnConv2d<T>::Impl {
  const onednn::Convolution sizes;
  const int threads = num_threads();
  Unbound weight, bias, gradient;
  std::vector<Packed> forward_weights, backward_weights, gradients;  // by order
  std::vector<SliceCall> forward, backward_data, weight_gradient;
  std::span<float> dbias;
  int pieces = 0;  // gathered so far

  Impl(const onednn::Convolution& c, const ConvPasses& passes)
      : sizes(c),
        weight(onednn::weights(c, onednn::Type::f32, false)),
        bias(onednn::bias(c)),
        gradient(onednn::weights(c, onednn::Type::f32, false)) {
    if (passes.forward) add_forward(passes.backward_data || passes.backward_weights);
    if (passes.backward_data) add_backward_data();
    if (passes.backward_weights) add_weight_gradient();
  }

  auto output_slices() const {
    return onednn::output_slices(sizes.x, sizes.y, sizes.kernel, sizes.stride, sizes.pad, threads);
  }
  onednn::Convolution sizes_of(const onednn::Slice& slice) const {
    onednn::Convolution c = sizes;
    c.x = slice.x;
    c.y = slice.y;
    c.pad = slice.pad;
    return c;
  }
  memory packed_weights(std::vector<Packed>& all, const onednn::Desc& order) {
    const auto make = [&](const onednn::Desc& desc) {
      const memory mem = allocate(desc);
      return Packed{mem, reorder(weight.mem, mem)};
    };
    return in_order(all, order, make).mem;
  }

  void add_forward(bool training) {
    const auto kind = training ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
    for (const onednn::Slice& slice : output_slices()) {
      SliceCall& s = forward.emplace_back(slice, sizes.type);
      const auto pd = onednn::forward(sizes_of(slice), kind);
      s.call = {dnnl::convolution_forward(pd),
                {{DNNL_ARG_SRC, s.x.mem},
                 {DNNL_ARG_WEIGHTS, packed_weights(forward_weights, pd.weights_desc())},
                 {DNNL_ARG_BIAS, bias.mem},
                 {DNNL_ARG_DST, s.y.mem},
                 {DNNL_ARG_SCRATCHPAD, s.own_scratchpad(pd.scratchpad_desc())}}};
    }
  }
  void add_backward_data() {
    for (const onednn::Slice& slice :
         onednn::input_slices(sizes.x, sizes.y, sizes.kernel, sizes.stride, sizes.pad, threads)) {
      SliceCall& s = backward_data.emplace_back(slice, sizes.type);
      const onednn::Convolution c = sizes_of(slice);
      const auto pd = onednn::backward_data(c, onednn::forward(c, dnnl::prop_kind::forward_training));
      s.call = {dnnl::convolution_backward_data(pd),
                {{DNNL_ARG_DIFF_DST, s.y.mem},
                 {DNNL_ARG_WEIGHTS, packed_weights(backward_weights, pd.weights_desc())},
                 {DNNL_ARG_DIFF_SRC, s.x.mem},
                 {DNNL_ARG_SCRATCHPAD, s.own_scratchpad(pd.scratchpad_desc())}}};
    }
  }
  void add_weight_gradient() {
    const auto make = [&](const onednn::Desc& order) {
      const memory mem = Unbound(order).mem;
      return Packed{mem, reorder(mem, gradient.mem, accumulate())};
    };
    for (const onednn::Slice& slice : output_slices()) {
      SliceCall& s = weight_gradient.emplace_back(slice, sizes.type);
      const onednn::Convolution c = sizes_of(slice);
      const auto pd = onednn::backward_weights(c, onednn::forward(c, dnnl::prop_kind::forward_training));
      s.dweight = Unbound(pd.diff_weights_desc());
      s.order = static_cast<std::size_t>(&in_order(gradients, pd.diff_weights_desc(), make) - gradients.data());
      s.piece_dweight.resize(s.dweight.bytes / sizeof(float));
      s.sum_dweight.resize(s.piece_dweight.size());
      s.dbias = Unbound(onednn::bias(c));
      s.piece_dbias.resize(s.dbias.bytes / sizeof(float));
      s.dbias.mem.set_data_handle(s.piece_dbias.data());
      s.call = {dnnl::convolution_backward_weights(pd),
                {{DNNL_ARG_SRC, s.x.mem},
                 {DNNL_ARG_DIFF_DST, s.y.mem},
                 {DNNL_ARG_DIFF_WEIGHTS, s.dweight.mem},
                 {DNNL_ARG_DIFF_BIAS, s.dbias.mem},
                 {DNNL_ARG_SCRATCHPAD, s.own_scratchpad(pd.scratchpad_desc())}}};
    }
  }

  // Runs body(slice) for every slice and throws if one could not.
  template <class Body>
  void for_slices(std::vector<SliceCall>& slices, std::span<const T> x, std::span<const T> y, const Body& body) const {
    PLEAT_CHECK(!slices.empty(), kName, ": a pass that was not asked for at construction");
    check_size(kName, "x", x.size(), sizes.x.size());
    check_size(kName, "y", y.size(), sizes.y.size());
    std::atomic<dnnl_status_t> failure = dnnl_success;
    parallel_for(std::ssize(slices), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i)
        if (const dnnl_status_t status = body(slices[static_cast<std::size_t>(i)]); status != dnnl_success)
          failure = status;
    });
    check_status(failure);
  }

  // Adds up the gradients that the slices gave, in the order of the slices.
  void take_gradients() {
    for (std::size_t order = 0; order < gradients.size(); ++order) {
      const auto is_of_order = [&](const SliceCall& slice) { return slice.order == order; };
      const auto first = std::ranges::find_if(weight_gradient, is_of_order);
      const std::span<float> total = first->sum_dweight;
      parallel_for(std::ssize(total), [&](int64_t begin, int64_t end, int) {
        for (auto slice = first + 1; slice != weight_gradient.end(); ++slice)
          if (is_of_order(*slice))
            add_rows<float>(total.data() + begin, slice->sum_dweight.data() + begin, 1, end - begin);
      });
      gradients[order].mem.set_data_handle(total.data());
      check_status(gradients[order].reorder.run());
    }
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
  for (const Packed& packed : impl_->forward_weights) check_status(packed.reorder.run());
}

template <class T>
void OnednnConv2d<T>::forward(std::span<T> y, std::span<const T> x, std::span<const float> bias,
                              const Piece& /*piece*/) {
  impl_->bias.bind(bias, "bias");
  impl_->for_slices(impl_->forward, x, y, [&](SliceCall& slice) { return slice.run(x.data(), y.data()); });
}

template <class T>
void OnednnConv2d<T>::begin_backward(std::span<const float> weight, std::span<float> dweight, std::span<float> dbias) {
  impl_->gradient.bind(std::span<const float>(dweight), "dweight");
  check_size(kName, "dbias", dbias.size(), static_cast<int64_t>(impl_->bias.bytes / sizeof(float)));
  impl_->dbias = dbias;
  impl_->pieces = 0;
  impl_->weight.bind(weight, "weight");
  for (const Packed& packed : impl_->backward_weights) check_status(packed.reorder.run());
}

template <class T>
void OnednnConv2d<T>::backward_data(std::span<T> dx, std::span<const T> dy, const Piece& /*piece*/) {
  impl_->for_slices(impl_->backward_data, dx, dy, [&](SliceCall& slice) { return slice.run(dx.data(), dy.data()); });
}

template <class T>
void OnednnConv2d<T>::backward_weights(std::span<const T> dy, std::span<const T> x, const Piece& /*piece*/) {
  const bool is_first = impl_->pieces++ == 0;  // which needs no addition
  impl_->for_slices(impl_->weight_gradient, x, dy, [&](SliceCall& slice) {
    AlignedVector<float>&sum = slice.sum_dweight, &piece = slice.piece_dweight;
    slice.dweight.mem.set_data_handle(is_first ? sum.data() : piece.data());
    const dnnl_status_t status = slice.run(x.data(), dy.data());
    if (!is_first) add_rows<float>(sum.data(), piece.data(), 1, std::ssize(sum));
    return status;
  });
  for (const SliceCall& slice : impl_->weight_gradient)
    for (std::size_t i = 0; i < impl_->dbias.size(); ++i) impl_->dbias[i] += slice.piece_dbias[i];
}

template <class T>
void OnednnConv2d<T>::end_backward() {
  impl_->take_gradients();
}

template class OnednnConv2d<float>;
template class OnednnConv2d<Bf16>;

}  // namespace pleat
