// The nonlinearities that an activation can have: one row for each, with what the rest of Pleat must know of it. The
// formulas and their derivatives are in ops/nonlinearity.hpp, the counterparts in oneDNN in core/onednn.hpp.
#pragma once

#include <array>
#include <limits>
#include <optional>
#include <stdexcept>

namespace pleat {

/// s in the alpha-activation s_a(x) = a*x + (1-a)*s(x) (core/graph.hpp). Definitions are PyTorch's.
enum class Nonlinearity {
  relu,        ///< max(x, 0)
  relu6,       ///< min(max(x, 0), 6)
  leaky_relu,  ///< x where it is positive, else 0.01 x. Another slope is ReLU with that alpha.
  silu,        ///< x * sigmoid(x)
  hard_swish,  ///< x * min(max(x + 3, 0), 6) / 6
  sigmoid,     ///< 1 / (1 + e^-x)
  gelu,        ///< x * (1 + erf(x / sqrt(2))) / 2
};

/// s(x) = leak*x + (1-leak)*min(max(x, 0), limit). Kernels can apply such a function to their sums while these are in
/// registers, and its alpha form is such a function again, with another leak.
struct LeakyClamp {
  double leak = 0, limit = std::numeric_limits<double>::infinity();

  /// The leak of its alpha form.
  template <class C>
  constexpr C leak_at(C alpha) const {
    return alpha + (1 - alpha) * static_cast<C>(leak);
  }
};

/// One operator of ONNX (opset 13). It is applied to the value before it; its other inputs are constants.
struct OnnxOperator {
  struct Attribute {
    const char* name = nullptr;
    float value = 0;
  };
  const char* type = nullptr;
  std::array<Attribute, 2> attributes = {};
  int constant_count = 0;
  std::array<float, 2> constants = {};
};

struct NonlinearityRow {
  Nonlinearity s;
  const char* name;                                ///< In the text form.
  std::optional<LeakyClamp> clamp = std::nullopt;  ///< If it is one.
  std::array<OnnxOperator, 4> onnx = {};           ///< Applied one after the other, the first to x,
  bool onnx_times_x = false;                       ///< and the result multiplied by x.
  bool counts_without_alpha = true;                ///< Part of the paper's depth, even if it cannot be folded.
};

/// In the order of the enumerators.
inline constexpr std::array kNonlinearities = std::to_array<NonlinearityRow>({
    {.s = Nonlinearity::relu, .name = "relu", .clamp = LeakyClamp{}, .onnx = {{{.type = "Relu"}}}},
    {.s = Nonlinearity::relu6,
     .name = "relu6",
     .clamp = LeakyClamp{.limit = 6},
     .onnx = {{{.type = "Clip", .constant_count = 2, .constants = {0, 6}}}},
     .counts_without_alpha = false},
    {.s = Nonlinearity::leaky_relu,
     .name = "leaky_relu",
     .clamp = LeakyClamp{.leak = 0.01},
     .onnx = {{{.type = "LeakyRelu", .attributes = {{{"alpha", 0.01f}}}}}}},
    {.s = Nonlinearity::silu, .name = "silu", .onnx = {{{.type = "Sigmoid"}}}, .onnx_times_x = true},
    {.s = Nonlinearity::hard_swish,
     .name = "hard_swish",
     .onnx = {{{.type = "HardSigmoid", .attributes = {{{"alpha", 1.0f / 6}, {"beta", 0.5f}}}}}},
     .onnx_times_x = true},
    {.s = Nonlinearity::sigmoid, .name = "sigmoid", .onnx = {{{.type = "Sigmoid"}}}},
    {.s = Nonlinearity::gelu,
     .name = "gelu",
     .onnx = {{{.type = "Mul", .constant_count = 1, .constants = {0.707106781f}},
               {.type = "Erf"},
               {.type = "Add", .constant_count = 1, .constants = {1}},
               {.type = "Mul", .constant_count = 1, .constants = {0.5f}}}},
     .onnx_times_x = true},
});

/// The row of a nonlinearity. Throws std::logic_error (or, of a constant, does not compile) if the table lacks it.
constexpr const NonlinearityRow& row(Nonlinearity s) {
  for (const NonlinearityRow& each : kNonlinearities)
    if (each.s == s) return each;
  throw std::logic_error("core/nonlinearity.hpp lacks a row");
}

}  // namespace pleat
