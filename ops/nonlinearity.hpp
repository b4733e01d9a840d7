// The formulas of the nonlinearities and of their alpha forms, y = s(x) + a * (x - s(x)), with derivatives. They are
// written once, for single numbers, in loops that the compiler vectorises, and for the vectors of core/simd/simd.hpp:
// V is either. Whoever computes an activation chooses its formula by with_formula outside of the loop.
#pragma once

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <type_traits>

#include "core/nonlinearity.hpp"
#include "core/simd/simd.hpp"

namespace pleat {

/// The number that V is, or has several of, and the integer of its size, of V's width.
template <class V, bool kIsNumber = std::is_floating_point_v<V>>
struct LanesOf {
  using C = std::remove_cvref_t<decltype(std::declval<V&>()[0])>;
  using Int = Vec<std::conditional_t<sizeof(C) == 4, int32_t, int64_t>, kWidthOf<V>>;
};
template <class V>
struct LanesOf<V, true> {
  using C = V;
  using Int = std::conditional_t<sizeof(C) == 4, int32_t, int64_t>;
};

/// y = min(max(x, low), high); a NaN stays one.
template <class V>
PLEAT_INLINE inline void clamp_to(V& y, const V& x, const V& low, const V& high) {
  y = low > x ? low : x;
  y = high < y ? high : y;
}

/// v becomes `inside` where low < x < high.
template <class Isa, class V>
PLEAT_INLINE inline void take_inside(V& v, const V& low, const V& x, const V& high, const V& inside) {
  if constexpr (std::is_floating_point_v<V>)
    v = low < x && x < high ? inside : v;
  else
    take_between<Isa>(v, low, x, high, inside);
}

/// y = e^x to a few units of the last digit, between e^-86 and e^88 in float, e^-700 and e^700 in double: e^x = 2^k e^r
/// with k whole and |r| <= ln(2)/2, e^r by its Taylor series.
template <class V>
PLEAT_INLINE inline void exponential(V& y, const V& x) {
  using C = typename LanesOf<V>::C;
  using Int = typename LanesOf<V>::Int;
  constexpr bool kFloat = sizeof(C) == 4;
  constexpr int kDegree = kFloat ? 7 : 13, kMantissa = kFloat ? 23 : 52;
  constexpr C kLow = kFloat ? -86 : -700, kHigh = kFloat ? 88 : 700;
  constexpr C kRound = kFloat ? 0x1.8p23 : 0x1.8p52;  // added to a number, it leaves no bits for the fraction
  constexpr C kLog2E = 1.44269504088896340736;
  // ln(2) in two parts, the first of few digits, so that its multiples are exact.
  constexpr C kLn2 = kFloat ? 0x1.63p-1 : 0x1.62e42feep-1;
  constexpr C kLn2Rest = kFloat ? -2.12194440054690583e-4 : 1.90821492927058770002e-10;
  V bounded;
  clamp_to(bounded, x, V{} + kLow, V{} + kHigh);
  const V rounded = bounded * kLog2E + kRound, k = rounded - kRound;
  const V r = (bounded - k * kLn2) - k * kLn2Rest;
  constexpr auto kInverseFactorial = [](int n) {
    double product = 1;
    for (int i = 2; i <= n; ++i) product *= i;
    return static_cast<C>(1 / product);
  };
  V sum = V{} + kInverseFactorial(kDegree);
#pragma GCC unroll 16
  for (int n = kDegree - 1; n >= 0; --n) sum = sum * r + kInverseFactorial(n);
  const Int power = __builtin_bit_cast(Int, rounded) << kMantissa;  // k, where the exponent is
  y = __builtin_bit_cast(V, static_cast<Int>(__builtin_bit_cast(Int, sum) + power));
  y += bounded * 0;  // a NaN stays one
}

/// y = 1 / (1 + e^-x).
template <class V>
PLEAT_INLINE inline void logistic(V& y, const V& x) {
  V e;
  exponential(e, static_cast<V>(-x));
  y = 1 / (1 + e);
}

/// Nonlinearities that are no clamps: value = s(x), slope = s'(x).
template <Nonlinearity s>
struct Formula;

template <>
struct Formula<Nonlinearity::sigmoid> {
  template <class Isa, class V>
  PLEAT_INLINE static void evaluate(V& value, V& slope, const V& x) {
    logistic(value, x);
    slope = value * (1 - value);
  }
};

template <>
struct Formula<Nonlinearity::silu> {
  template <class Isa, class V>
  PLEAT_INLINE static void evaluate(V& value, V& slope, const V& x) {
    V gate;
    logistic(gate, x);
    value = x * gate;
    slope = gate + value * (1 - gate);
  }
};

template <>
struct Formula<Nonlinearity::hard_swish> {
  template <class Isa, class V>
  PLEAT_INLINE static void evaluate(V& value, V& slope, const V& x) {
    using C = typename LanesOf<V>::C;
    const V sixth = x * C(1.0 / 6);
    V gate;
    clamp_to(gate, static_cast<V>(sixth + C(0.5)), V{}, V{} + C(1));
    value = x * gate;
    slope = gate;
    take_inside<Isa>(slope, V{} + C(-3), x, V{} + C(3), static_cast<V>(gate + sixth));
  }
};

/// What kernels need of an activation besides its formula. The floor of a clamp is 0; but were that known where it is
/// used, GCC 12 would compare and mask where a maximum does.
template <class C>
struct AlphaParams {
  C alpha = 0, floor = 0, limit = 0;
  C dalpha = 1;  ///< The derivative of `alpha` by the a that is learned.
};
template <class C>
AlphaParams<C> alpha_params(Nonlinearity s, C alpha) {
  const auto& clamp = row(s).clamp;
  if (!clamp) return {.alpha = alpha};
  return {
      .alpha = clamp->leak_at(alpha), .limit = static_cast<C>(clamp->limit), .dalpha = static_cast<C>(1 - clamp->leak)};
}

/// The alpha form of a formula.
template <class Isa, class F, class V>
struct AlphaForm {
  using C = typename LanesOf<V>::C;
  C alpha;
  PLEAT_INLINE explicit AlphaForm(const AlphaParams<C>& params) : alpha(params.alpha) {}

  /// y = s(x) + alpha * (x - s(x)).
  PLEAT_INLINE void forward(V& y, const V& x) const {
    V value, slope;
    F::template evaluate<Isa>(value, slope, x);
    y = value + alpha * (x - value);
  }
  /// dx comes as dy and leaves as dy times the derivative; rest = x - s(x).
  PLEAT_INLINE void backward(V& dx, V& rest, const V& x) const {
    V value, slope;
    F::template evaluate<Isa>(value, slope, x);
    rest = x - value;
    dx = dx * (slope + alpha * (1 - slope));
  }
};

/// All clamps: min(max(x, 0), limit). One with a leak is computed with the alpha that LeakyClamp::leak_at gives.
struct ClampFormula {};

template <class Isa, class V>
struct AlphaForm<Isa, ClampFormula, V> {
  using C = typename LanesOf<V>::C;
  V floor, limit;
  C alpha;
  PLEAT_INLINE explicit AlphaForm(const AlphaParams<C>& params)
      : floor(V{} + params.floor), limit(V{} + params.limit), alpha(params.alpha) {}

  PLEAT_INLINE void forward(V& y, const V& x) const {
    V value;
    clamp_to(value, x, floor, limit);
    y = value + alpha * (x - value);
  }
  PLEAT_INLINE void backward(V& dx, V& rest, const V& x) const {
    V value;
    clamp_to(value, x, floor, limit);
    rest = x - value;
    const V dy = dx;
    dx = alpha * dy;
    take_inside<Isa>(dx, floor, x, limit, dy);
  }
};

/// y = erf(x): in double the C library's, lane by lane; in float x P(x^2) / Q(x^2) with x bounded by 4 and the
/// polynomials of Eigen (Eigen/src/Core/MathFunctionsImpl.h), to a few units of the last digit.
template <class V>
PLEAT_INLINE inline void error_function(V& y, const V& x) {
  using C = typename LanesOf<V>::C;
  if constexpr (std::is_same_v<V, double>) {
    y = std::erf(x);
  } else if constexpr (std::is_same_v<C, double>) {
    for (int64_t i = 0; i < kWidthOf<V>; ++i) y[i] = std::erf(x[i]);
  } else {
    constexpr C kP[] = {-2.72614225801306e-10f, 2.77068142495902e-08f,  -2.10102402082508e-06f, -5.69250639462346e-05f,
                        -7.34990630326855e-04f, -2.95459980854025e-03f, -1.60960333262415e-02f};
    constexpr C kQ[] = {-1.45660718464996e-05f, -2.13374055278905e-04f, -1.68282697438203e-03f, -7.37332916720468e-03f,
                        -1.42647390514189e-02f};
    V bounded;
    clamp_to(bounded, x, V{} + C(-4), V{} + C(4));
    const V square = bounded * bounded;
    V p = V{} + kP[0], q = V{} + kQ[0];
#pragma GCC unroll 8
    for (int i = 1; i < 7; ++i) p = p * square + kP[i];
#pragma GCC unroll 8
    for (int i = 1; i < 5; ++i) q = q * square + kQ[i];
    y = bounded * p / q;
  }
}

template <>
struct Formula<Nonlinearity::gelu> {
  template <class Isa, class V>
  PLEAT_INLINE static void evaluate(V& value, V& slope, const V& x) {
    using C = typename LanesOf<V>::C;
    constexpr C kSqrtHalf = 0.70710678118654752440, kInverseSqrt2Pi = 0.39894228040143267794;
    V error, density;
    error_function(error, static_cast<V>(x * kSqrtHalf));
    exponential(density, static_cast<V>(x * x * C(-0.5)));
    const V share = C(0.5) * error + C(0.5);  // of the normal distribution below x
    // In float the share's error would be multiplied by an x below which nothing is left of the share.
    const V least = V{} + C(sizeof(C) == 4 ? -6 : -40);
    value = (least > x ? least : x) * share;
    slope = share + x * density * kInverseSqrt2Pi;
  }
};

/// No activation, in place of a formula: y = x. The compiler leaves out what only an activation would have needed.
struct NoActivation {};

template <class Isa, class V>
struct AlphaForm<Isa, NoActivation, V> {
  template <class C>
  PLEAT_INLINE explicit AlphaForm(const AlphaParams<C>&) {}
  PLEAT_INLINE void forward(V& y, const V& x) const { y = x; }
  PLEAT_INLINE void backward(V&, V& rest, const V&) const { rest = V{}; }
};

#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
/// Calls body(formula of s), which AlphaForm takes as its first argument. Every enumerator has a case here, or this
/// does not compile.
template <class Body>
void with_formula(Nonlinearity s, const Body& body) {
  switch (s) {
    case Nonlinearity::relu:
    case Nonlinearity::relu6:
    case Nonlinearity::leaky_relu:
      return body(ClampFormula());
    case Nonlinearity::silu:
      return body(Formula<Nonlinearity::silu>());
    case Nonlinearity::hard_swish:
      return body(Formula<Nonlinearity::hard_swish>());
    case Nonlinearity::sigmoid:
      return body(Formula<Nonlinearity::sigmoid>());
    case Nonlinearity::gelu:
      return body(Formula<Nonlinearity::gelu>());
  }
  throw std::logic_error("ops/nonlinearity.hpp lacks a formula");
}
#pragma GCC diagnostic pop

}  // namespace pleat
