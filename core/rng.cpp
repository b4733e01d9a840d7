#include "core/rng.hpp"

#include <cmath>
#include <numbers>

namespace pleat {

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> x, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * x[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<uint32_t>(b >> 32) ^ x[1] ^ key[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ x[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return x;
}

uint32_t Rng::bits() {
  if (left_ == 0) {
    words_ = philox({static_cast<uint32_t>(block_), static_cast<uint32_t>(block_ >> 32), static_cast<uint32_t>(stream_),
                     static_cast<uint32_t>(stream_ >> 32)},
                    {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
    ++block_;
    left_ = 4;
  }
  return words_[4 - left_--];
}

uint32_t Rng::below(uint32_t n) {
  const uint32_t reject = static_cast<uint32_t>(
      (uint64_t{1} << 32) % n);  // numbers of the first, incomplete interval are rejected (Lemire 2019)
  uint64_t product;
  do product = uint64_t{bits()} * n;
  while (static_cast<uint32_t>(product) < reject);
  return static_cast<uint32_t>(product >> 32);
}

double Rng::uniform() {
  return bits() * 0x1p-32;
}

double Rng::normal() {
  const double radius =
      std::sqrt(-2 * std::log((bits() + 1.0) * 0x1p-32));  // the argument is in (0, 1], so the logarithm is finite
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::vector<uint32_t> permutation(uint32_t n, Rng rng) {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  return order;
}

}  // namespace pleat
