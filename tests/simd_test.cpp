// Registers (core/simd/simd.hpp) against plain values, and bfloat16's rounding.
#include "core/simd/simd.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace pleat::testing {

TEST_CASE("bfloat16 rounds to the nearest, ties to even, and keeps NaN") {
  const auto rounded = [](uint32_t bits) { return uint32_t{Bf16(std::bit_cast<float>(bits)).bits} << 16; };
  CHECK(rounded(0x3f800000) == 0x3f800000);
  CHECK(rounded(0x3f807fff) == 0x3f800000);
  CHECK(rounded(0x3f808000) == 0x3f800000);  // ties
  CHECK(rounded(0x3f818000) == 0x3f820000);
  CHECK(rounded(0x3f808001) == 0x3f810000);
  CHECK(rounded(0x80000001) == 0x80000000);
  CHECK(rounded(0x7f7fffff) == 0x7f800000);  // to infinity
  CHECK(rounded(0xff800000) == 0xff800000);
  CHECK(std::isnan(float{Bf16(std::bit_cast<float>(0x7f800001u))}));  // a NaN of low bits alone
  CHECK(std::isnan(float{Bf16(std::bit_cast<float>(0xffffffffu))}));
}

TEST_CASE("registers load and store bfloat16 as values do") {
  // No denormals: the CPU's own rounding takes them for zeros.
  const float odd_ones[] = {0, -0.0f, 1.00390625f, 1.01171875f, -3e38f, 3.4e38f, 1e-37f, std::nanf("")};
  with_registers<Bf16>([&](auto bytes) __attribute__((always_inline)) {
    using R = Registers<Bf16, bytes>;
    Bf16 from[R::kCount], to[R::kCount];
    float scale = 1.00123f;
    for (int i = 0; i < R::kCount; ++i) from[i] = odd_ones[i % 8] * static_cast<float>(1 + i);
    R lanes;
    PLEAT_UNROLLED(part, R::kParts) {
      R::load_part(lanes.part[part], from, part);
      lanes.part[part] *= scale;
    }
    lanes.store(to);
    for (int i = 0; i < R::kCount; ++i) CHECK(to[i].bits == Bf16(float{from[i]} * scale).bits);
  });
}

}  // namespace pleat::testing
