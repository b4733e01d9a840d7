#include "ops/flatten.hpp"

#include "core/parallel.hpp"

namespace pleat {
namespace {

// Transposes each of `count` matrices of shape [rows, columns].
template <class To, class From>
void transpose(std::span<To> to, std::span<const From> from, int64_t count, int64_t rows, int64_t columns) {
  parallel_for(count, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      To* target = to.data() + i * rows * columns;
      const From* source = from.data() + i * rows * columns;
      for (int64_t column = 0; column < columns; ++column)
        for (int64_t row = 0; row < rows; ++row) target[column * rows + row] = To(source[row * columns + column]);
    }
  });
}

}  // namespace

template <class T>
void flatten_forward(std::span<compute_t<T>> y, std::span<const T> x, const Nhwc& x_shape) {
  transpose(y, x, x_shape.n, x_shape.h * x_shape.w, x_shape.c);
}

template <class T>
void flatten_backward(std::span<T> dx, std::span<const compute_t<T>> dy, const Nhwc& x_shape) {
  transpose(dx, dy, x_shape.n, x_shape.c, x_shape.h * x_shape.w);
}

#define PLEAT_INSTANTIATE(T)                                                                  \
  template void flatten_forward<T>(std::span<compute_t<T>>, std::span<const T>, const Nhwc&); \
  template void flatten_backward<T>(std::span<T>, std::span<const compute_t<T>>, const Nhwc&);
PLEAT_INSTANTIATE(float)
PLEAT_INSTANTIATE(double)
PLEAT_INSTANTIATE(Bf16)
#undef PLEAT_INSTANTIATE

}  // namespace pleat
