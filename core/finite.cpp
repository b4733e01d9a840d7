#include "core/finite.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/check.hpp"

namespace pleat {

std::size_t first_not_finite(std::span<const float> numbers) {
  constexpr uint32_t kExponent = 0x7F80'0000;  // all ones: infinite or NaN
  const auto is_wrong = [](float number) { return (std::bit_cast<uint32_t>(number) & kExponent) == kExponent; };
  constexpr std::size_t kBlock = 1024;  // without a branch for each number
  for (std::size_t begin = 0; begin < numbers.size(); begin += kBlock) {
    const std::span<const float> block = numbers.subspan(begin, std::min(kBlock, numbers.size() - begin));
    unsigned wrong = 0;
    for (const float number : block) wrong |= static_cast<unsigned>(is_wrong(number));
    for (std::size_t i = 0; wrong != 0 && i < block.size(); ++i)
      if (is_wrong(block[i])) return begin + i;
  }
  return numbers.size();
}

void check_logits(std::span<const float> logits, std::size_t classes, const std::string& whose) {
  const std::size_t i = first_not_finite(logits);
  if (i == logits.size()) return;
  throw std::runtime_error(concat(whose, ": logit ", i % classes, " of picture ", i / classes, " is ", logits[i],
                                  ", expected a finite number\nhint: the weights or the pictures hold numbers that are "
                                  "too large"));
}

}  // namespace pleat
