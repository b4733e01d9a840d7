// The decoders behind data/picture.hpp, one a file: JPEG by libjpeg-turbo, PNG by libpng, BMP, PPM and PGM by
// stb_image. Each of them throws std::runtime_error, naming the file, for what it does not support and for every damage
// that it can see: a picture is decoded as it is meant, or refused.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "data/picture.hpp"

namespace pleat {

/// A picture file's bytes, and what its errors call it.
struct PictureBytes {
  std::span<const uint8_t> bytes;
  const std::string& name;
  int64_t most_pixels;  ///< Larger pictures are refused before their pixels are decoded.
};

/// The pixels in the file's order, of step 4: red, green, blue, and a byte that means nothing.
struct DecodedPicture {
  Picture picture;
  int orientation = 1;  ///< How to turn it (Exif's numbers, 1 to 8); 1: it is upright.
};

bool is_jpeg(std::span<const uint8_t> bytes);
bool is_png(std::span<const uint8_t> bytes);
bool is_bmp(std::span<const uint8_t> bytes);
bool is_pnm(std::span<const uint8_t> bytes);  ///< Binary PPM or PGM.

DecodedPicture decode_jpeg(const PictureBytes& file);
DecodedPicture decode_png(const PictureBytes& file);
DecodedPicture decode_bmp(const PictureBytes& file);
DecodedPicture decode_pnm(const PictureBytes& file);

/// Throws std::runtime_error for a picture without pixels, with more than file.most_pixels of them, or longer than
/// kMaxSide on a side.
void check_picture_size(const PictureBytes& file, int64_t width, int64_t height);

/// The orientation that Exif data (a TIFF structure) give; 1 where they give none. Source: Exif 2.3, section 4.6.
int exif_orientation(std::span<const uint8_t> tiff);

/// The same of an XMP document, which is XML: the value of tiff:Orientation.
int xmp_orientation(std::span<const uint8_t> xml);

}  // namespace pleat
