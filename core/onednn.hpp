// oneDNN behind one face: 2.6 (Debian 12) describes an operation and then a primitive, 3.x does both at once. What
// differs between them is hidden here and nowhere else. Private: included by .cpp files alone.
#pragma once

#include <dnnl.hpp>
#include <string>

#include "core/graph.hpp"
#include "core/split.hpp"
#include "core/tensor.hpp"

namespace pleat::onednn {

using Desc = dnnl::memory::desc;
using Tag = dnnl::memory::format_tag;
using Dims = dnnl::memory::dims;

/// The CPU, which all threads share, and the calling thread's stream: oneDNN does not promise that a stream may be used
/// from several. Calls on it are synchronous.
inline dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}
inline dnnl::stream& stream() {
  thread_local dnnl::stream queue(engine());
  return queue;
}

/// "3.2.0": of the library that runs, not of the header.
inline std::string version() {
  const dnnl::version_t* v = dnnl::version();
  return std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

using Type = dnnl::memory::data_type;

/// A tensor; oneDNN counts dimensions as N, C, H, W whatever the layout in memory.
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

/// An activation, channels last (Pleat's layout) or as the primitive likes.
inline Desc activation(const Nhwc& s, Type type = Type::f32, Tag tag = Tag::nhwc) {
  return desc({s.n, s.c, s.h, s.w}, tag, type);
}

/// A value a channel.
inline Desc vector(int64_t n) {
  return desc({n}, Tag::x);
}

/// A convolution's sizes. A depthwise one has as many groups as channels.
struct Convolution {
  Nhwc x, y;
  int kernel = 1, stride = 1;
  Padding pad;
  int groups = 1;
  bool bias = false;
  Type type = Type::f32;  ///< Of activations and weights; bias, weight gradients and sums are f32 in any case.
  Type y_type = type;     ///< Of a forward pass's output.
};

/// Weights in Pleat's order: OIHW, or GOIHW (the same bytes) with groups. `any` leaves the order to the primitive.
inline Desc weights(const Convolution& c, Type type, bool any) {
  const int64_t k = c.kernel, g = c.groups;
  if (g == 1) return desc({c.y.c, c.x.c, k, k}, any ? Tag::any : Tag::oihw, type);
  return desc({g, c.y.c / g, c.x.c / g, k, k}, any ? Tag::any : Tag::goihw, type);
}

/// A zero descriptor where there is no bias.
inline Desc bias(const Convolution& c) {
  return c.bias ? vector(c.y.c) : Desc();
}

/// Attributes with the scratchpad supplied by the caller (DNNL_ARG_SCRATCHPAD), so that a call allocates nothing.
inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

inline void append_eltwise(dnnl::post_ops& ops, dnnl::algorithm algorithm, float alpha, float beta) {
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(algorithm, alpha, beta);
#else
  ops.append_eltwise(1.0f, algorithm, alpha, beta);
#endif
}

// Primitive descriptors of a convolution: activations NHWC, weights in the primitive's own order (`weights_desc()`,
// `diff_weights_desc()`), the scratchpad the caller's. Throw dnnl::error.

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

/// A pooling, forward only.
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

/// Copies `from` into the layout of `to`: parameters once at load, or weights once a training step.
inline void reorder(dnnl::memory& from, dnnl::memory& to) {
  dnnl::reorder(from, to).execute(stream(), from, to);
}

}  // namespace pleat::onednn
