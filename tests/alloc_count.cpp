#include "tests/alloc_count.hpp"

#ifdef __SANITIZE_ADDRESS__

pleat::testing::Allocations pleat::testing::count_allocations(const std::function<void()>& call) {
  call();
  return {};
}

#else

#include <dlfcn.h>
#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <vector>

#include "core/onednn.hpp"

// malloc and its kin are replaced (operator new ends in them), and so are the doors to oneDNN.
namespace {

std::atomic<bool> counting = false;
std::atomic<int> allocations = 0;
thread_local bool inside_onednn = false;  // several threads call oneDNN at once
std::atomic<std::size_t> largest_inside_onednn = 0;

void count(std::size_t bytes) {
  if (!counting) return;
  if (!inside_onednn)
    ++allocations;
  else if (bytes > largest_inside_onednn)
    largest_inside_onednn = bytes;
}

// The function of this name behind ours.
template <class F>
F* next(F*, const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

template <class Call>
dnnl_status_t inside(const Call& call) {
  inside_onednn = true;
  const dnnl_status_t status = call();
  inside_onednn = false;
  return status;
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t bytes) {
  count(bytes);
  return __libc_malloc(bytes);
}
void* calloc(std::size_t n, std::size_t bytes) {
  count(n * bytes);
  return __libc_calloc(n, bytes);
}
void* realloc(void* p, std::size_t bytes) {
  count(bytes);
  return __libc_realloc(p, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count(bytes);
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t bytes) {
  count(bytes);
  *p = __libc_memalign(alignment, bytes);
  return *p == nullptr ? ENOMEM : 0;
}

dnnl_status_t dnnl_primitive_execute(const_dnnl_primitive_t primitive, dnnl_stream_t stream, int n,
                                     const dnnl_exec_arg_t* args) {
  static const auto real = next(&dnnl_primitive_execute, "dnnl_primitive_execute");
  return inside([&] { return real(primitive, stream, n, args); });
}
// oneDNN 3 allocates here, too.
dnnl_status_t dnnl_memory_set_data_handle(dnnl_memory_t memory, void* handle) {
  static const auto real = next(&dnnl_memory_set_data_handle, "dnnl_memory_set_data_handle");
  return inside([&] { return real(memory, handle); });
}
}

pleat::testing::Allocations pleat::testing::count_allocations(const std::function<void()>& call) {
  allocations = 0, largest_inside_onednn = 0, counting = true;
  call();
  counting = false;
  return {allocations, largest_inside_onednn};
}

TEST_CASE("the counter of allocations counts") {
  std::vector<float> seen;
  CHECK(pleat::testing::count_allocations([&] { seen.resize(1); }).own == 1);
  CHECK(pleat::testing::count_allocations([] {}).own == 0);
}

#endif
