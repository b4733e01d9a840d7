// What a decoder does not tell, or does not survive, about a JPEG file. Sources: ITU-T T.81, annex B (markers);
// Exif 2.3, section 4.6.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace pleat {

struct JpegFile {
  /// What is wrong with it, to stand behind "a JPEG file that"; empty: nothing. It may end too early, where decoders
  /// fill what is missing with grey and say nothing; or have more Huffman codes than a table holds, beyond whose end
  /// stb_image 2.27 (Debian 12's) would write.
  std::string_view fault = {};
  int orientation = 1;  ///< EXIF's, 1 to 8; 1 is upright, and what is taken where there is none.
};

/// Begins with a marker, as nothing else does.
bool is_jpeg(std::span<const uint8_t> file);

/// Goes through the markers of a JPEG file.
JpegFile scan_jpeg(std::span<const uint8_t> file);

}  // namespace pleat
