// Counter-based random numbers: the value depends only on (seed, stream, counter), never on who asked before. So a
// resumed run, any number of loader threads and any order of work give the same numbers.
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", Philox4x32-10.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

namespace pleat {

/// The Philox4x32-10 block: four 32-bit words from a 128-bit counter and a 64-bit key.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// A sequence of random numbers named by (seed, stream): e.g. stream = hash of epoch and image.
class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  uint32_t bits();             ///< 32 uniform bits.
  uint32_t below(uint32_t n);  ///< Uniform in [0, n), without modulo bias; n >= 1.
  double uniform();            ///< Uniform in [0, 1), 32 bits of it.
  double normal();             ///< Standard normal (Box-Muller).

 private:
  uint64_t seed_, stream_, block_ = 0;
  std::array<uint32_t, 4> words_{};
  int left_ = 0;
};

/// A permutation of 0..n-1 (Fisher-Yates).
std::vector<uint32_t> permutation(uint32_t n, Rng rng);

}  // namespace pleat
