// Whether a text from outside is UTF-8, which JSON and model files need.
#pragma once

#include <string_view>

namespace pleat {

/// True if every character of `text` is encoded as RFC 3629 says: in as few bytes as possible, none a surrogate, none
/// beyond U+10FFFF.
inline bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u; };
    const unsigned first = byte(i);
    const int more = first < 0x80 ? 0 : first >= 0xC2 && first < 0xE0 ? 1 : first >> 4 == 0xE ? 2 : 3;
    if (more == 3 && (first < 0xF0 || first > 0xF4)) return false;
    for (int k = 1; k <= more; ++k)
      if ((byte(i + k) & 0xC0u) != 0x80) return false;
    const unsigned second = byte(i + 1);
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
        (first == 0xF4 && second > 0x8F))
      return false;
    i += 1 + more;
  }
  return true;
}

}  // namespace pleat
