// Resizing with antialiasing, across and then down, bit for bit as Pillow does it in this order (and so torchvision's
// Resize of a picture): where it shrinks, the filter is as wide as the output's pixels.
#pragma once

#include <cstdint>
#include <span>

#include "core/model.hpp"
#include "data/picture.hpp"

namespace pleat {

inline constexpr int kMaxSide = 1 << 16;

struct Box {
  int top = 0, left = 0, height = 0, width = 0;
};

/// What is made of a picture: the part `box`, cut out and scaled to height x width, of which `window` is looked at.
struct View {
  Box box;
  int height = 0, width = 0;
  Box window;
};

/// out [window.height, window.width, channels]. Only what the window needs is computed. Throws std::invalid_argument
/// for boxes that do not lie in what they are cut from, and sizes that do not fit.
void resample(std::span<uint8_t> out, const Pixels& picture, int channels, const View& view,
              Interpolation interpolation);

}  // namespace pleat
