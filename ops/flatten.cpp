#include "ops/flatten.hpp"

#include "core/parallel.hpp"

namespace pleat {
namespace {

// `count` matrices of [rows, columns], each transposed.
template <class T>
void transpose(std::span<T> to, std::span<const T> from, int64_t count, int64_t rows, int64_t columns) {
  parallel_for(count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      T* target = to.data() + i * rows * columns;
      const T* source = from.data() + i * rows * columns;
      for (int64_t column = 0; column < columns; ++column)
        for (int64_t row = 0; row < rows; ++row) target[column * rows + row] = source[row * columns + column];
    }
  });
}

}  // namespace

template <class T>
void flatten_forward(std::span<T> y, std::span<const T> x, const Nhwc& x_shape) {
  transpose(y, x, x_shape.n, x_shape.h * x_shape.w, x_shape.c);
}

template <class T>
void flatten_backward(std::span<T> dx, std::span<const T> dy, const Nhwc& x_shape) {
  transpose(dx, dy, x_shape.n, x_shape.c, x_shape.h * x_shape.w);
}

#define PLEAT_INSTANTIATE(T)                                                    \
  template void flatten_forward(std::span<T>, std::span<const T>, const Nhwc&); \
  template void flatten_backward(std::span<T>, std::span<const T>, const Nhwc&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
