// Text of a file's, made fit for a terminal.
#pragma once

#include <string>

namespace pleat {

/// `text` with its control characters written as \xNN: those would move the cursor, change colours or worse.
inline std::string escaped(const std::string& text) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // UTF-8's two-byte form of the control characters 80 to 9f begins with c2.
    const bool is_second = i > 0 && static_cast<unsigned char>(text[i - 1]) == 0xC2 && byte >= 0x80 && byte < 0xA0;
    if (byte >= ' ' && byte != 0x7F && !is_second)
      result += text[i];
    else
      result += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return result;
}

}  // namespace pleat
