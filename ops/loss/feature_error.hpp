// How far a network's features are from its teacher's: the sum of the squared differences, as a fraction of the sum of
// the teacher's squares.
//   loss = sum (x - t)^2 / sum t^2
// Shapes  x,teacher,dx: any, the same.
// Grads   dx = 2 (x - t) / sum t^2 is overwritten; the teacher gets no gradient.
// Sums    are in double, in an order that does not depend on the number of threads.
// Source  mean squared error between features: Wang et al. 2023, "Practical Network Acceleration with Tiny Sets"
//         (PRACTISE), arXiv:2202.07861, section 3.
#pragma once

#include <span>

namespace pleat {

/// Returns the loss and writes its gradient with respect to `x`. Teacher features that are all 0 count as 1 in the
/// denominator. Throws std::invalid_argument if the sizes differ.
double feature_error(std::span<float> dx, std::span<const float> x, std::span<const float> teacher);

}  // namespace pleat
