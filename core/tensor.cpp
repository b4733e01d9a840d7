#include "core/tensor.hpp"

namespace pleat {

Tensor::Tensor(std::vector<int64_t> shape_, float fill) : shape(std::move(shape_)), values(num_elements(shape), fill) {}

int64_t num_elements(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (int64_t extent : shape) n *= extent;
  return n;
}

std::string to_string(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string to_string(const Nhwc& shape) {
  return to_string(std::vector<int64_t>{shape.n, shape.h, shape.w, shape.c});
}

}  // namespace pleat
