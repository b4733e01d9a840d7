// A hash of contents, to notice that something is not what it was.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace pleat {

/// Gathers bytes; the result depends on their order and on how many each call adds. Not secure against whoever wants
/// two contents to look alike.
class ContentHash {
 public:
  void add(std::span<const std::byte> bytes);
  void add(const std::string& text);
  /// Sixteen hexadecimal digits.
  std::string text() const;

 private:
  void mix(uint64_t word);

  uint64_t state_ = 0xcbf29ce484222325;
};

}  // namespace pleat
