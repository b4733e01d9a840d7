#include "core/hash.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

namespace pleat {

// Each step is invertible, so two contents that differ in one word never look alike.
void ContentHash::mix(uint64_t word) {
  state_ = std::rotl((state_ ^ word) * 0x9e3779b97f4a7c15, 29);
}

void ContentHash::add(std::span<const std::byte> bytes) {
  mix(bytes.size());
  while (!bytes.empty()) {
    uint64_t word = 0;
    const std::size_t n = std::min(bytes.size(), sizeof word);
    std::memcpy(&word, bytes.data(), n);
    mix(word);
    bytes = bytes.subspan(n);
  }
}

void ContentHash::add(const std::string& text) {
  add(std::as_bytes(std::span(text)));
}

std::string ContentHash::text() const {
  // The last word has been multiplied once alone; two more rounds spread it over all digits.
  ContentHash last = *this;
  last.mix(0);
  last.mix(0);
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(last.state_));
  return digits;
}

}  // namespace pleat
