// Tensors hold parameters. The values that flow through a network are not tensors, but spans into an arena
// (core/arena.hpp), always in NHWC order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pleat {

/// Allocates memory at a multiple of 64 bytes, which is the size of a cache line and of an AVX-512 register. Large
/// blocks are in huge pages if the system grants them. Throws std::bad_alloc.
void* allocate_aligned(std::size_t bytes);
void free_aligned(void* memory, std::size_t bytes);

/// Lets standard containers use allocate_aligned.
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

/// The shape of a value: pictures, rows, columns, channels. Channels are contiguous in memory.
struct Nhwc {
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t pixels() const { return n * h * w; }
  int64_t size() const { return pixels() * c; }
  bool operator==(const Nhwc&) const = default;
};

/// A parameter, with its elements in row-major order. The weights of convolutions are OIHW, as in PyTorch.
struct Tensor {
  std::vector<int64_t> shape;
  AlignedVector<float> values;

  Tensor() = default;
  explicit Tensor(std::vector<int64_t> shape_, float fill = 0);
  bool operator==(const Tensor&) const = default;
};

/// Parameters by name. The map is sorted, so they are always processed in the same order, which makes runs repeatable.
using Tensors = std::map<std::string, Tensor>;

/// The number of elements of a shape; 1 for {}.
int64_t num_elements(const std::vector<int64_t>& shape);

/// The shape as text for messages, such as `[64, 3, 3, 3]`.
std::string to_string(const std::vector<int64_t>& shape);
std::string to_string(const Nhwc& shape);

}  // namespace pleat
