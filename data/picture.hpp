// Pictures from JPEG and PNG files, and their way to a network's input size.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pleat {

/// Decodes a JPEG or PNG file to [height, width, channels] bytes; channels is 1 (grey) or 3 (colour), transparency is
/// dropped. Throws std::runtime_error naming the file and the reason; files beyond 256 MB and pictures beyond 64
/// million pixels are refused before they are decoded.
std::vector<uint8_t> load_picture(const std::string& path, int& height, int& width, int channels);

/// Bilinear resize with antialiasing: when it shrinks, the triangle filter is as wide as the output's pixels.
/// [height, width, channels] to [out_height, out_width, channels], bit for bit as Pillow's BILINEAR (and so
/// torchvision's Resize of a picture). Throws std::invalid_argument for sizes that do not fit.
std::vector<uint8_t> resize(std::span<const uint8_t> picture, int height, int width, int channels, int out_height,
                            int out_width);

/// To a network's input [out_height, out_width, channels]: resizes so that the middle part `crop` (0 to 1; 0.875 is
/// usual for ImageNet) of the shorter side becomes the output, proportions kept, and cuts that out of the centre.
std::vector<uint8_t> fit_picture(std::span<const uint8_t> picture, int height, int width, int channels, int out_height,
                                 int out_width, double crop = 1);

}  // namespace pleat
