// What a decoder does not tell about a JPEG file. Sources: ITU-T T.81, annex B (markers); Exif 2.3, section 4.6.
#pragma once

#include <cstdint>
#include <span>

namespace pleat {

struct JpegFile {
  bool complete = false;  ///< Its end marker is there: decoders fill what is missing with grey and say nothing.
  int orientation = 1;    ///< EXIF's, 1 to 8; 1 is upright, and what is taken where there is none.
};

/// Begins with JPEG's first marker.
bool is_jpeg(std::span<const uint8_t> file);

/// Goes through the markers of a JPEG file.
JpegFile scan_jpeg(std::span<const uint8_t> file);

}  // namespace pleat
