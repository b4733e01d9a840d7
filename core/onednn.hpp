// A common interface to oneDNN 2.6 (Debian 12) and 3.x. Version 2.6 first describes an operation and then a primitive
// for it, version 3 does both in one step; only this file knows the difference. It is private: only .cpp files may
// include it.
#pragma once

#include <dnnl.hpp>
#include <stdexcept>
#include <string>

#include "core/graph.hpp"
#include "core/split.hpp"
#include "core/tensor.hpp"

namespace pleat::onednn {

using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;
using Dims = dnnl::memory::dims;

/// The CPU as oneDNN's engine. All threads share it.
inline dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}
/// The calling thread's stream, on which calls are synchronous. Each thread has its own, because oneDNN does not
/// promise that several threads may use one.
inline dnnl::stream& stream() {
  thread_local dnnl::stream queue(engine());
  return queue;
}

/// The version of the library that is loaded, not of the header, such as "3.2.0".
inline std::string version() {
  const dnnl::version_t* v = dnnl::version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

using Type = dnnl::memory::data_type;

/// The description of a tensor. oneDNN counts dimensions in the order N, C, H, W, whatever the layout in memory.
inline Desc desc(const Dims& dims, Tag tag, Type type = Type::f32) {
  return {dims, type, tag};
}

/// The type of a descriptor's values.
inline Type type_of(const Desc& desc) {
#if DNNL_VERSION_MAJOR >= 3
  return desc.get_data_type();
#else
  return desc.data_type();
#endif
}

/// The description of a value: NHWC, which is Pleat's layout, or the layout `tag`.
inline Desc activation(const Nhwc& s, Type type = Type::f32, Tag tag = Tag::nhwc) {
  return desc({s.n, s.c, s.h, s.w}, tag, type);
}

/// The description of n numbers, one for each channel.
inline Desc vector(int64_t n) {
  return desc({n}, Tag::x);
}

/// The sizes of a convolution. A depthwise convolution has as many groups as channels.
struct Convolution {
  Nhwc x, y;
  int kernel = 1, stride = 1;
  Padding pad;
  int groups = 1;
  bool bias = false;
  Type type = Type::f32;  ///< Of values and weights. The bias, the gradients of weights and the sums are always f32.
  Type y_type = type;     ///< Of the output of the forward pass.
};

/// The description of a convolution's weights in Pleat's order: OIHW, or GOIHW if there are groups, which is the same
/// order in memory. With `any` the primitive chooses the order.
inline Desc weights(const Convolution& c, Type type, bool any) {
  const int64_t k = c.kernel, g = c.groups;
  if (g == 1) return desc({c.y.c, c.x.c, k, k}, any ? Tag::any : Tag::oihw, type);
  return desc({g, c.y.c / g, c.x.c / g, k, k}, any ? Tag::any : Tag::goihw, type);
}

/// The description of a convolution's bias; the zero descriptor if it has none.
inline Desc bias(const Convolution& c) {
  return c.bias ? vector(c.y.c) : Desc();
}

/// Attributes that let the caller supply the scratchpad (DNNL_ARG_SCRATCHPAD), so that a call allocates nothing.
inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

/// An operation on each element, with oneDNN's two parameters.
struct Eltwise {
  dnnl::algorithm algorithm;
  float alpha = 0, beta = 0;
};

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
/// The operation that computes a nonlinearity. Every enumerator has a case here, or this does not compile.
inline Eltwise eltwise(Nonlinearity s) {
  switch (s) {
    case Nonlinearity::relu:
      return {dnnl::algorithm::eltwise_relu};
    case Nonlinearity::relu6:
      return {dnnl::algorithm::eltwise_clip, 0, 6};
    case Nonlinearity::leaky_relu:
      return {dnnl::algorithm::eltwise_relu, 0.01f};
    case Nonlinearity::silu:
      return {dnnl::algorithm::eltwise_swish, 1};
    case Nonlinearity::hard_swish:
      return {dnnl::algorithm::eltwise_hardswish, 1.0f / 6, 0.5f};
    case Nonlinearity::sigmoid:
      return {dnnl::algorithm::eltwise_logistic};
    case Nonlinearity::gelu:
      return {dnnl::algorithm::eltwise_gelu_erf};
  }
  throw std::logic_error("core/onednn.hpp lacks a nonlinearity");
}
#pragma GCC diagnostic pop

/// Appends an elementwise operation to the post-ops.
inline void append_eltwise(dnnl::post_ops& ops, const Eltwise& eltwise) {
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(eltwise.algorithm, eltwise.alpha, eltwise.beta);
#else
  ops.append_eltwise(1.0f, eltwise.algorithm, eltwise.alpha, eltwise.beta);
#endif
}

// The primitive descriptors of a convolution. Values are NHWC, weights have the order that the primitive chooses
// (`weights_desc()`, `diff_weights_desc()`), and the caller supplies the scratchpad. They throw dnnl::error.

inline dnnl::convolution_forward::primitive_desc forward(const Convolution& c, dnnl::prop_kind kind,
                                                         const dnnl::primitive_attr& attr = user_scratchpad()) {
  const Dims strides{c.stride, c.stride}, begin{c.pad.top, c.pad.left}, end{c.pad.bottom, c.pad.right};
  const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),
          kind,
          algorithm,
          activation(c.x, c.type),
          weights(c, c.type, true),
          bias(c),
          activation(c.y, c.y_type),
          strides,
          begin,
          end,
          attr};
#else
  return {{kind, algorithm, activation(c.x, c.type), weights(c, c.type, true), bias(c), activation(c.y, c.y_type),
           strides, begin, end},
          attr,
          engine()};
#endif
}

inline dnnl::convolution_backward_data::primitive_desc backward_data(
    const Convolution& c, const dnnl::convolution_forward::primitive_desc& forward_hint) {
  const Dims strides{c.stride, c.stride}, begin{c.pad.top, c.pad.left}, end{c.pad.bottom, c.pad.right};
  const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),
          algorithm,
          activation(c.x, c.type),
          weights(c, c.type, true),
          activation(c.y, c.type),
          strides,
          begin,
          end,
          forward_hint,
          user_scratchpad()};
#else
  return {{algorithm, activation(c.x, c.type), weights(c, c.type, true), activation(c.y, c.type), strides, begin, end},
          user_scratchpad(),
          engine(),
          forward_hint};
#endif
}

inline dnnl::convolution_backward_weights::primitive_desc backward_weights(
    const Convolution& c, const dnnl::convolution_forward::primitive_desc& forward_hint) {
  const Dims strides{c.stride, c.stride}, begin{c.pad.top, c.pad.left}, end{c.pad.bottom, c.pad.right};
  const auto algorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine(),
          algorithm,
          activation(c.x, c.type),
          weights(c, Type::f32, true),
          bias(c),
          activation(c.y, c.type),
          strides,
          begin,
          end,
          forward_hint,
          user_scratchpad()};
#else
  return {{algorithm, activation(c.x, c.type), weights(c, Type::f32, true), bias(c), activation(c.y, c.type), strides,
           begin, end},
          user_scratchpad(),
          engine(),
          forward_hint};
#endif
}

/// The primitive descriptor of a pooling's forward pass for inference.
inline dnnl::pooling_forward::primitive_desc pooling(dnnl::algorithm algorithm, const Nhwc& x, const Nhwc& y,
                                                     const Dims& kernel, const Dims& strides, const Padding& pad,
                                                     Type type, const dnnl::primitive_attr& attr = user_scratchpad()) {
  const auto kind = dnnl::prop_kind::forward_inference;
  const Dims begin{pad.top, pad.left}, end{pad.bottom, pad.right};
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), kind, algorithm, activation(x, type), activation(y, type), strides, kernel, {0, 0},
          begin,    end,  attr};
#else
  return {{kind, algorithm, activation(x, type), activation(y, type), strides, kernel, begin, end}, attr, engine()};
#endif
}

/// Copies `source` to `destination` and converts it to the layout there. This is done to parameters once when a model
/// is loaded, or to weights once per training step.
inline void reorder(dnnl::memory& source, dnnl::memory& destination) {
  dnnl::reorder(source, destination).execute(stream(), source, destination);
}

}  // namespace pleat::onednn
