#include "core/simd/bf16.hpp"

namespace pleat {

bool cpu_has_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16") != 0;  // CPUs with AMX have it as well
#else
  return false;
#endif
}

}  // namespace pleat
