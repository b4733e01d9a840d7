// Every instruction set's vector operations (core/simd) against plain loops, whatever PLEAT_ISA says; how the set in
// use is chosen; and bfloat16's rounding.
#include "core/simd/simd.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "core/check.hpp"
#include "core/rng.hpp"
#include "ops/activation.hpp"
#include "ops/conv/gemm/lane_product.hpp"
#include "tests/run.hpp"

namespace pleat::testing {
namespace {

// Calls body(tag), compiled for that set, for every set that this CPU has.
template <class Body, std::size_t kIndex = 0>
void for_each_instruction_set(const Body& body) {
  if constexpr (kIndex < std::tuple_size_v<InstructionSets>) {
    using Isa = std::tuple_element_t<kIndex, InstructionSets>;
    if (Isa::is_supported()) {
      CAPTURE(std::string(Isa::kName));
      Isa::run(body);
    } else {
      MESSAGE("skipped: this CPU lacks " << std::string(Isa::kName));
    }
    for_each_instruction_set<Body, kIndex + 1>(body);
  }
}

// Numbers of all signs and sizes, zeros, infinities and NaN among them. No denormals: instructions that round to
// bfloat16 take them for zeros.
std::vector<float> odd_floats(std::size_t count, uint64_t seed) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float special[] = {0,       -0.0f,  1.00390625f,   1.01171875f, -3e38f,
                           3.4e38f, 1e-37f, std::nanf(""), kInfinity,   -kInfinity};
  Rng rng(seed);
  std::vector<float> values;
  for (std::size_t i = 0; i < count; ++i)
    values.push_back(i % 3 == 0 ? special[rng.below(std::size(special))]
                                : static_cast<float>(rng.normal() * std::exp(8 * rng.normal())));
  return values;
}

// Equal bit by bit, or both NaN.
bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

// Loads, stores and rounding of vectors of kLanes floats.
template <class Isa, int64_t kLanes>
PLEAT_INLINE inline void check_memory() {
  using V = Vec<float, kLanes>;
  const std::vector<float> first = odd_floats(kLanes, 1), second = odd_floats(kLanes, 2);
  std::vector<Bf16> stored(first.begin(), first.end());
  for (int64_t lanes = 1; lanes <= kLanes; ++lanes) {
    V f32, bf16;
    load<Isa>(f32, first.data(), lanes);
    load<Isa>(bf16, stored.data(), lanes);
    std::vector<float> f32_back(kLanes + 1, 7), bf16_back(kLanes);
    std::vector<Bf16> rounded(kLanes + 1, Bf16(7));
    store<Isa>(f32_back.data(), f32, lanes);
    store<Isa>(rounded.data(), f32, lanes);
    store(bf16_back.data(), bf16);
    for (int64_t i = 0; i <= kLanes; ++i) {
      CHECK(same(f32_back[i], i < lanes ? first[i] : 7));
      CHECK(same(rounded[i], i < lanes ? float{stored[i]} : 7));
      if (i < kLanes) CHECK(same(bf16_back[i], i < lanes ? float{stored[i]} : 0));
    }
  }
  V v, w;
  load(v, first.data());
  load(w, second.data());
  std::vector<Bf16> two(2 * kLanes);
  store_two<Isa>(two.data(), v, w);
  for (int64_t i = 0; i < kLanes; ++i) {
    CHECK(same(two[i], Bf16(first[i])));
    CHECK(same(two[kLanes + i], Bf16(second[i])));
  }
}

// Choices lane by lane.
template <class Isa, class C, int64_t kLanes>
PLEAT_INLINE inline void check_choices() {
  using V = Vec<C, kLanes>;
  Rng rng(3);
  C a[kLanes], b[kLanes], c[kLanes], v[kLanes], other[kLanes], kept[kLanes], taken[kLanes];
  for (int round = 0; round < 20; ++round) {
    for (C* array : {a, b, c, v, other})
      for (int64_t i = 0; i < kLanes; ++i) array[i] = static_cast<C>(rng.below(4));  // often equal
    V va, vb, vc, vv, vother;
    load(va, a), load(vb, b), load(vc, c), load(vv, v), load(vother, other);
    V result = vv;
    keep_where_less(result, va, vb, vother);
    store(kept, result);
    result = vv;
    take_between<Isa>(result, va, vb, vc, vother);
    store(taken, result);
    for (int64_t i = 0; i < kLanes; ++i) {
      CHECK(kept[i] == (a[i] < b[i] ? v[i] : other[i]));
      CHECK(taken[i] == (a[i] < b[i] && b[i] < c[i] ? other[i] : v[i]));
    }
  }
}

// Products of floats and of pairs of bfloat16, whose values are small integers: exact in any order.
template <class Isa, int64_t kLanes>
PLEAT_INLINE inline void check_products() {
  using V = Vec<float, kLanes>;
  Rng rng(4);
  const auto integer = [&] { return static_cast<float>(rng.below(17)) - 8; };
  float f32[kLanes], start[kLanes], result[kLanes];
  Bf16 pairs[2 * kLanes], factor[2] = {integer(), integer()};
  for (float& value : f32) value = integer();
  for (float& value : start) value = integer();
  for (Bf16& value : pairs) value = integer();
  V sum, b;
  load(sum, start);
  load(b, f32);
  multiply_add<Isa>(sum, 3.0f, b);
  store(result, sum);
  for (int64_t i = 0; i < kLanes; ++i) CHECK(result[i] == start[i] + 3 * f32[i]);
  std::memcpy(&b, pairs, sizeof b);
  load(sum, start);
  const Bf16* const in_memory = factor;
  multiply_add<Isa>(sum, spread<V>(in_memory), b);
  multiply_add<Isa>(sum, in_memory, b);
  store(result, sum);
  for (int64_t i = 0; i < kLanes; ++i)
    CHECK(result[i] == start[i] + 2 * (factor[0] * pairs[2 * i] + factor[1] * pairs[2 * i + 1]));
}

// A register's bytes, in the type that is computed in.
template <class Isa, class T>
PLEAT_INLINE inline void check_registers() {
  using R = Registers<T, Isa>;
  const std::vector<float> values = odd_floats(R::kCount, 5);
  const std::vector<T> from(values.begin(), values.end());
  std::vector<T> to(R::kCount);
  const compute_t<T> scale = 1.00123f;
  R lanes;
  PLEAT_UNROLLED(part, R::kParts) {
    R::load_part(lanes.part[part], from.data(), part);
    lanes.part[part] *= scale;
  }
  lanes.store(to.data());
  for (int64_t i = 0; i < R::kCount; ++i)
    CHECK(same(static_cast<float>(to[i]), static_cast<float>(T(compute_t<T>(from[i]) * scale))));
}

// An activation stored as bfloat16, of three vectors that lie one behind the other.
template <class Isa, int64_t kLanes>
PLEAT_INLINE inline void check_activation() {
  using V = Vec<float, kLanes>;
  constexpr int kVectors = 3;
  Rng rng(6);
  float from[kVectors * kLanes];
  for (float& value : from) value = static_cast<float>(4 * rng.normal());
  for (const Activation act : {Activation{}, Activation{0}, Activation{0, 6}, Activation{0.5f, 6}}) {
    V v[kVectors];
    PLEAT_UNROLLED(i, kVectors) load(v[i], from + i * kLanes);
    Bf16 to[kVectors * kLanes];
    store_activated<kVectors, Isa>(v, act, [&](int64_t i) PLEAT_INLINE { return to + i * kLanes; });
    for (int64_t i = 0; i < kVectors * kLanes; ++i) {
      const float s = std::clamp(from[i], 0.0f, act.limit);
      CHECK(to[i] == Bf16(act.alpha * from[i] + (1 - act.alpha) * s));
    }
  }
}

}  // namespace

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

TEST_CASE("every instruction set loads, stores and rounds as plain loops do") {
  for_each_instruction_set([]<class Isa>(Isa) PLEAT_INLINE {
    check_memory<Isa, Isa::kBytes / sizeof(float)>();
    check_memory<Isa, Isa::kBytes / sizeof(float) / 2>();  // what is left at the end of a row
    check_memory<Isa, 1>();
    check_registers<Isa, float>();
    check_registers<Isa, double>();
    check_registers<Isa, Bf16>();
  });
}

TEST_CASE("every instruction set chooses, multiplies and activates as plain loops do") {
  for_each_instruction_set([]<class Isa>(Isa) PLEAT_INLINE {
    constexpr int64_t kLanes = Isa::kBytes / sizeof(float);
    check_choices<Isa, float, kLanes>();
    check_choices<Isa, float, kLanes / 2>();
    check_choices<Isa, double, kLanes / 2>();
    check_products<Isa, kLanes>();
    check_activation<Isa, kLanes>();
  });
}

TEST_CASE("dispatch runs the set in use, or the one that stands in for it") {
  const InstructionSetInUse isa = instruction_set();
  CHECK(std::ranges::find(isa.choices, isa.name) != isa.choices.end());
  CHECK(isa.best == isa.choices.front());
  if (!isa.is_overridden) CHECK(isa.name == isa.best);
  const auto name = []<class Isa>(Isa) PLEAT_INLINE { return std::string(Isa::kName); };
  CHECK(dispatch(name) == (isa.name == "avx512_bf16" ? "avx512" : isa.name));
  CHECK(dispatch<Bf16>(name) == (isa.name == "avx512" ? "avx2" : isa.name));
}

TEST_CASE("PLEAT_ISA holds the programs to an instruction set, and one that cannot be is an error") {
  const TempDir dir;
  for (const std::string& name : instruction_set().choices) {
    const nlohmann::json json = shell(dir, "PLEAT_ISA=" + name + " \"$PLEAT\" doctor --json").json();
    CHECK(json["instruction_set"]["in_use"] == name);
    CHECK(json["instruction_set"]["best"] == instruction_set().best);
    CHECK(json["instruction_set"]["overridden"] == true);
    CHECK(json["self_test"]["passed"] == true);
  }
  const nlohmann::json json = shell(dir, "PLEAT_ISA= \"$PLEAT\" doctor --json").json();
  CHECK(json["instruction_set"]["in_use"] == instruction_set().best);
  CHECK(json["instruction_set"]["overridden"] == false);
  for (const char* program : {"\"$PLEAT\" list", "\"$RUN\" none.safetensors --bench"}) {
    check_failure(shell(dir, std::string("PLEAT_ISA=avx9 ") + program), 1,
                  {"PLEAT_ISA is 'avx9'", "no instruction set", "generic"});
    for (const std::string& name : instruction_set().missing)
      check_failure(shell(dir, concat("PLEAT_ISA=", name, " ", program)), 1,
                    {concat("PLEAT_ISA is '", name, "'"), "this CPU lacks", instruction_set().best});
  }
}

}  // namespace pleat::testing
