// The cross entropy of the logits' softmax against class labels, as the mean over the batch.
//   p = softmax(logits)      loss = mean over n of (1-e) * -log p[label] + e * mean over classes of -log p
// Shapes  logits,dlogits [n,classes]; labels [n], each in [0, classes), which the loader has checked.
// Smooth  e = label_smoothing in [0, 1), as PyTorch defines it.
// Grads   dlogits = (p - (1-e) * onehot - e / classes) / n, the gradient of the mean, is overwritten.
// Sums    are in double, in an order that does not depend on the number of threads.
// Source  Szegedy et al. 2015, arXiv:1512.00567, section 7.
#pragma once

#include <cstdint>
#include <span>

namespace pleat {

template <class T>
double cross_entropy_forward(std::span<const T> logits, std::span<const int32_t> labels, int64_t classes,
                             double label_smoothing);

template <class T>
void cross_entropy_backward(std::span<T> dlogits, std::span<const T> logits, std::span<const int32_t> labels,
                            int64_t classes, double label_smoothing);

}  // namespace pleat
