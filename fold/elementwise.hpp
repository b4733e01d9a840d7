// What the engine computes element by element where no primitive does, on all threads (private to the engine). Values
// are float or Bf16.
#pragma once

#include <span>

#include "core/bf16.hpp"
#include "core/tensor.hpp"
#include "ops/activation.hpp"

namespace pleat {

/// y = a + b.
template <class T>
void add(std::span<T> y, std::span<const T> a, std::span<const T> b);

/// y = act(x); y may be x.
template <class T>
void activate(std::span<T> y, std::span<const T> x, const Activation& act);

/// y[n][channel][row][column] = x [N,H,W,C] of shape s.
template <class T>
void flatten(std::span<T> y, std::span<const T> x, const Nhwc& s);

/// to = from in the other type.
template <class To, class From>
void convert(std::span<To> to, std::span<const From> from);

}  // namespace pleat
