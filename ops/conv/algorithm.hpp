// The algorithms that training's convolutions are computed by.
#pragma once

namespace pleat {

/// The value is the letter that stands for it in a recipe.
enum class Algorithm : char {
  direct = 'd',
  winograd2 = '2',  ///< F(2x2,3x3), ops/conv/winograd/winograd_pass.hpp.
  winograd4 = '4',  ///< F(4x4,3x3).
  product = 'p',    ///< ops/conv/pointwise_conv2d.hpp.
};
inline constexpr Algorithm kAlgorithms[] = {Algorithm::direct, Algorithm::winograd2, Algorithm::winograd4,
                                            Algorithm::product};

/// One for each pass of a convolution: forward, backward to the input, backward to the weights.
struct ConvAlgorithms {
  Algorithm forward = Algorithm::direct, backward_data = Algorithm::direct, backward_weights = Algorithm::direct;
  bool operator==(const ConvAlgorithms&) const = default;
};

}  // namespace pleat
