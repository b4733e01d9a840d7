// Tests what finite differences cannot test: gradients at kinks and ties, and NaN.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "ops/alpha_act.hpp"
#include "ops/max_pool2d.hpp"

using namespace pleat;

TEST_CASE("at its kinks, the alpha activation has the slope of the flat side") {
  const std::vector<double> x{-1, 0, 3, 6, 8}, dy{1, 1, 1, 1, 1};
  std::vector<double> dx(5);
  double dalpha = 100;  // accumulated
  alpha_act_backward<double>(dx, dalpha, dy, x, 0.25, Nonlinearity::relu6);
  CHECK(dx == std::vector<double>{0.25, 0.25, 1, 0.25, 0.25});
  CHECK(dalpha == 100 - 1 + 2);  // x - s(x) is -1, 0, 0, 0, 2
  alpha_act_backward<double>(dx, dalpha, dy, x, 0.25, Nonlinearity::relu);
  CHECK(dx == std::vector<double>{0.25, 0.25, 1, 1, 1});
}

TEST_CASE("max pooling gives the gradient to the first of equal values in row order") {
  const Nhwc shape{1, 2, 3, 1};
  const MaxPool2d op{.kernel = 2, .stride = 1, .pad = {}};
  const std::vector<float> x{1, 5, 5,  //
                             5, 5, 0};
  std::vector<float> y(2), dx(6);
  max_pool2d_forward<float>(y, x, shape, op);
  CHECK(y == std::vector<float>{5, 5});
  max_pool2d_backward<float>(dx, std::vector<float>{1, 10}, x, shape, op);
  CHECK(dx == std::vector<float>{0, 11, 0, 0, 0, 0});
}

TEST_CASE("max pooling propagates NaN") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const std::vector<float>& x : {std::vector<float>{nan, 1, 2, 3}, {1, nan, 2, 3}, {1, 2, 3, nan}}) {
    std::vector<float> y(1);
    max_pool2d_forward<float>(y, x, {1, 2, 2, 1}, MaxPool2d{.kernel = 2, .stride = 2, .pad = {}});
    CHECK(std::isnan(y[0]));
  }
}

TEST_CASE("the padding of max pooling is never the maximum, even among negative values") {
  std::vector<float> y(4);
  max_pool2d_forward<float>(y, std::vector<float>{-7}, {1, 1, 1, 1},
                            MaxPool2d{.kernel = 2, .stride = 1, .pad = Padding::uniform(1)});
  CHECK(y == std::vector<float>{-7, -7, -7, -7});
}
