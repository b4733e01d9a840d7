// Parameters and sizes. Activations are not tensors: they are spans into an arena (core/arena.hpp), always NHWC.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pleat {

/// Memory on a 64-byte boundary: a cache line, and one AVX-512 register. Much of it comes in huge pages where the
/// system grants them on request. Throws std::bad_alloc.
void* allocate_aligned(std::size_t bytes);
void free_aligned(void* memory, std::size_t bytes);

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(allocate_aligned(n * sizeof(T))); }
  void deallocate(T* p, std::size_t n) { free_aligned(p, n * sizeof(T)); }
  bool operator==(const AlignedAllocator&) const { return true; }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

/// Size of an activation, channels innermost.
struct Nhwc {
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t pixels() const { return n * h * w; }
  int64_t size() const { return pixels() * c; }
  bool operator==(const Nhwc&) const = default;
};

/// A named parameter: row-major values, convolutions OIHW as in PyTorch.
struct Tensor {
  std::vector<int64_t> shape;
  AlignedVector<float> values;

  Tensor() = default;
  explicit Tensor(std::vector<int64_t> shape_, float fill = 0);
  bool operator==(const Tensor&) const = default;
};

/// Parameters by name; the order (by name) is part of what makes a run repeatable.
using Tensors = std::map<std::string, Tensor>;

/// Number of elements of a shape; 1 for {}.
int64_t num_elements(const std::vector<int64_t>& shape);

/// `[64, 3, 3, 3]`, `[128, 32, 32, 16]`: for messages.
std::string to_string(const std::vector<int64_t>& shape);
std::string to_string(const Nhwc& shape);

}  // namespace pleat
