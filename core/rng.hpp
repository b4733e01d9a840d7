// Counter-based random numbers. A number depends only on (seed, stream, counter) and not on what was drawn before it,
// so a resumed run gets the same numbers, and so does any number of loader threads in any order. Source: Salmon et al.
// 2011, "Parallel random numbers: as easy as 1, 2, 3", Philox4x32-10.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

namespace pleat {

/// The Philox4x32-10 block: four 32-bit words from a 128-bit counter and a 64-bit key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// The sequence of random numbers for (seed, stream). The loader, for example, has one stream for each epoch and
/// picture.
class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  uint32_t bits();             ///< 32 independent uniform bits.
  uint32_t below(uint32_t n);  ///< A uniform integer in [0, n), without bias; n must be at least 1.
  double uniform();            ///< A uniform number in [0, 1) with a resolution of 32 bits.
  double normal();             ///< A standard normal number (Box-Muller).

 private:
  uint64_t seed_, stream_, block_ = 0;
  std::array<uint32_t, 4> words_{};
  int left_ = 0;
};

/// A random permutation of 0..n-1 (Fisher-Yates).
std::vector<uint32_t> permutation(uint32_t n, Rng rng);

}  // namespace pleat
