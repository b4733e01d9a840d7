// How far a network's logits are from its teacher's, both softened by a temperature t, as the mean over the batch.
//   q = softmax(teacher / t)   p = softmax(logits / t)   loss = t^2 * mean over n of sum_c q log(q / p)
// The t^2 keeps the gradient's size independent of t.
// Shapes  logits,teacher,dlogits [n,classes]; temperature > 0.
// Grads   dlogits = t * (p - q) / n is overwritten; the teacher gets no gradient.
// Sums    are in double, in an order that does not depend on the number of threads.
// Source  Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2.
#pragma once

#include <cstdint>
#include <span>

namespace pleat {

template <class T>
double distillation_forward(std::span<const T> logits, std::span<const T> teacher, int64_t classes, double temperature);

template <class T>
void distillation_backward(std::span<T> dlogits, std::span<const T> logits, std::span<const T> teacher, int64_t classes,
                           double temperature);

}  // namespace pleat
