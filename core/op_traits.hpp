// One row for each kind of op: every question about it that is answered by yes or no. Whoever needs such an answer
// reads the row; std::visit, with one overload for each kind, is for what truly differs from kind to kind (visit_op
// below).
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include "core/graph.hpp"

namespace pleat {

/// A row. The default of each field is the cautious answer: where a row forgets a field, the compiler asks for an
/// overload, or an opportunity is missed, but nothing is computed wrong.
struct OpTraits {
  /// For each picture the output is a linear map of the input (a bias may be added), so that fold/linear_map.cpp can
  /// compose it with its neighbours. A sum of two inputs is not meant: folding treats Add by itself.
  bool linear = false;
  /// It has the weights of a convolution or linear layer: a region to be merged needs at least one of these.
  bool weighted = false;
  /// It is a convolution, dense or depthwise, and counts as one where networks are described.
  bool convolution = false;
  /// It slides a window over the picture: it has the attributes kernel, stride and pad, and TensorFlow would pad it.
  bool windowed = false;
  /// Its padding is zeros, so that padding of an earlier op may be moved into it.
  bool takes_padding = false;
  /// Its padding may be negative, which crops.
  bool crops = false;
  /// It is but a pass or two over memory: it has no multiply-accumulates, and training rather computes it again than
  /// keep its output for the backward pass.
  bool cheap = false;
  /// The output has the input's shape, whatever that is.
  bool keeps_shape = false;
  /// The output is one pixel for each picture by the op's nature, not by its attributes. From there on training in bf16
  /// computes in f32.
  bool one_pixel = false;
  /// It may have parameters.
  bool parameters = true;
  /// Its backward pass reads the values that the forward pass read.
  bool backward_reads_inputs = true;
  /// The engine computes it by a primitive that can add another value and apply an activation as it stores.
  bool takes_epilogue = false;
};

/// A kind of op without a row below. Calling it is an error that names the kind.
template <class Kind>
consteval OpTraits this_op_has_no_row_in_op_traits() = delete;

/// The row of a kind of op.
template <class Kind>
inline constexpr OpTraits kOpTraits = this_op_has_no_row_in_op_traits<Kind>();

template <>
inline constexpr OpTraits kOpTraits<Input>{.cheap = true, .parameters = false, .backward_reads_inputs = false};
template <>
inline constexpr OpTraits kOpTraits<Conv2d>{.linear = true,
                                            .weighted = true,
                                            .convolution = true,
                                            .windowed = true,
                                            .takes_padding = true,
                                            .takes_epilogue = true};
template <>
inline constexpr OpTraits kOpTraits<DepthwiseConv2d>{.linear = true,
                                                     .weighted = true,
                                                     .convolution = true,
                                                     .windowed = true,
                                                     .takes_padding = true,
                                                     .takes_epilogue = true};
// Another linear map at every border, hence none of one picture; and made for one size of picture, hence its padding
// stays what it is.
template <>
inline constexpr OpTraits kOpTraits<BorderConv2d>{.crops = true};
template <>
inline constexpr OpTraits kOpTraits<BatchNorm>{
    .linear = true, .cheap = true, .keeps_shape = true, .takes_epilogue = true};
template <>
inline constexpr OpTraits kOpTraits<AlphaAct>{.cheap = true, .keeps_shape = true};
// Its padding never wins: that is not zeros.
template <>
inline constexpr OpTraits kOpTraits<MaxPool2d>{.windowed = true, .cheap = true, .parameters = false};
template <>
inline constexpr OpTraits kOpTraits<AvgPool2d>{.linear = true,
                                               .windowed = true,
                                               .takes_padding = true,
                                               .cheap = true,
                                               .parameters = false,
                                               .backward_reads_inputs = false};
template <>
inline constexpr OpTraits kOpTraits<GlobalAvgPool>{
    .linear = true, .cheap = true, .one_pixel = true, .parameters = false, .backward_reads_inputs = false};
template <>
inline constexpr OpTraits kOpTraits<Flatten>{
    .linear = true, .cheap = true, .one_pixel = true, .parameters = false, .backward_reads_inputs = false};
template <>
inline constexpr OpTraits kOpTraits<Linear>{
    .linear = true, .weighted = true, .one_pixel = true, .takes_epilogue = true};
template <>
inline constexpr OpTraits kOpTraits<Add>{.cheap = true, .parameters = false, .backward_reads_inputs = false};
template <>
inline constexpr OpTraits kOpTraits<Shortcut>{.linear = true,
                                              .takes_padding = true,
                                              .crops = true,
                                              .cheap = true,
                                              .parameters = false,
                                              .backward_reads_inputs = false};

// Kinds by their rows, for the overloads of visitors: `[](const Cheap auto&) { return 0; }` stands for all cheap ops.
template <class Kind>
concept Cheap = kOpTraits<std::remove_const_t<Kind>>
.cheap;
template <class Kind>
concept NonLinear = !kOpTraits<std::remove_const_t<Kind>>.linear;
template <class Kind>
concept Unweighted = !kOpTraits<std::remove_const_t<Kind>>.weighted;
template <class Kind>
concept KeepsShape = kOpTraits<std::remove_const_t<Kind>>
.keeps_shape;
template <class Kind>
concept WithoutParameters = !kOpTraits<std::remove_const_t<Kind>>.parameters;
template <class Kind>
concept IsConvolution = kOpTraits<std::remove_const_t<Kind>>
.convolution;
template <class Kind>
concept Windowed = kOpTraits<std::remove_const_t<Kind>>
.windowed;
template <class Kind>
concept TakesPadding = kOpTraits<std::remove_const_t<Kind>>
.takes_padding;

namespace detail {

// A kind of op for which a visitor has no overload. Calling it is an error that names the kind.
template <class Result, class Kind>
Result this_visitor_has_no_overload_for() = delete;

// What the visitor returns for the first kind that it has an overload for.
template <class Visitor, class... Kinds>
struct ResultOf {
  using type = void;
};
template <class Visitor, class Kind, class... Kinds>
struct ResultOf<Visitor, Kind, Kinds...> : ResultOf<Visitor, Kinds...> {};
template <class Visitor, class Kind, class... Kinds>
requires std::invocable<Visitor, Kind>
struct ResultOf<Visitor, Kind, Kinds...> : std::invoke_result<Visitor, Kind> {
};

template <class Visitor, class Variant>
struct ResultForVariant;
template <class Visitor, class... Kinds>
struct ResultForVariant<Visitor, std::variant<Kinds...>&> : ResultOf<Visitor, Kinds&...> {};
template <class Visitor, class... Kinds>
struct ResultForVariant<Visitor, const std::variant<Kinds...>&> : ResultOf<Visitor, const Kinds&...> {};

}  // namespace detail

/// std::visit for ops, with one difference: for a kind that `visitor` has no overload for, the compiler's error is one
/// line that names the kind, instead of some hundred about std::variant.
template <class Visitor, class AnyOp>
auto visit_op(const Visitor& visitor, AnyOp& op) {
  using Result = typename detail::ResultForVariant<const Visitor&, AnyOp&>::type;
  return std::visit(
      [&]<class Kind>(Kind& one) -> Result {
        if constexpr (std::invocable<const Visitor&, Kind&>)
          return visitor(one);
        else
          return detail::this_visitor_has_no_overload_for<Result, std::remove_const_t<Kind>>();
      },
      op);
}

/// The row of an op.
inline const OpTraits& traits(const Op& op) {
  return *visit_op([]<class Kind>(const Kind&) { return &kOpTraits<Kind>; }, op);
}

}  // namespace pleat
