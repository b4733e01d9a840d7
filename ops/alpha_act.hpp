// The alpha-activation: between a nonlinearity s (core/nonlinearity.hpp) at a = 0 and the identity at a = 1.
//   y = a*x + (1-a)*s(x)
// Shapes  x, y, dx and dy have the same shape, any; they are of type T (double, float, Bf16). alpha is a number.
// Grads   dx = dy * (a + (1-a)*s'(x)) is overwritten; the sum of dy * (x - s(x)), taken in double, is added to dalpha.
//         At a kink of a clamp s' is that of the flat side, as in PyTorch.
// Alias   y may be x; dx may be dy.
// Source  Ben Dror et al. 2021, "Layer Folding", arXiv:2106.09309, section 3.
#pragma once

#include <span>

#include "core/graph.hpp"
#include "core/simd/bf16.hpp"

namespace pleat {

template <class T>
void alpha_act_forward(std::span<T> y, std::span<const T> x, compute_t<T> alpha, Nonlinearity s);

template <class T>
void alpha_act_backward(std::span<T> dx, compute_t<T>& dalpha, std::span<const T> dy, std::span<const T> x,
                        compute_t<T> alpha, Nonlinearity s);

}  // namespace pleat
