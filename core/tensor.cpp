#include "core/tensor.hpp"

#include <sys/mman.h>

#include <new>

namespace pleat {
namespace {

constexpr std::size_t kHugePage = 2 << 20;

std::align_val_t alignment(std::size_t bytes) {
  return std::align_val_t{bytes >= 2 * kHugePage ? kHugePage : 64};
}

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  void* memory = ::operator new(bytes, alignment(bytes));
  // Huge pages need fewer entries in the processor's cache of address translations. If the system refuses them, the
  // memory works all the same.
  if (bytes >= 2 * kHugePage) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
  return memory;
}

void free_aligned(void* memory, std::size_t bytes) {
  ::operator delete(memory, alignment(bytes));
}

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
