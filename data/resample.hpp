// Resizes pictures with antialiasing: first every row, then every column, each by a one-dimensional filter. When the
// picture shrinks, the filter is widened to the size of an output pixel, which is what avoids aliasing. The result is
// bit for bit that of Pillow, and so of torchvision's Resize of a Pillow image.
#pragma once

#include <cstdint>
#include <span>

#include "core/model.hpp"
#include "data/picture.hpp"

namespace pleat {

/// The largest width or height of a picture, in pixels.
inline constexpr int kMaxSide = 1 << 16;

/// A rectangle of pixels.
struct Box {
  int top = 0, left = 0, height = 0, width = 0;
};

/// What to make of a picture: `box` is cut out and scaled to height x width pixels, and `window` of that is the result.
struct View {
  Box box;
  int height = 0, width = 0;
  Box window;
};

/// Writes the view of `picture` to out [window.height, window.width, channels]. Only what the window needs is computed.
/// Throws std::invalid_argument if `view.box` is not inside the picture, if `view.window` is not inside height x width,
/// or if a span has the wrong size.
void resample(std::span<uint8_t> out, const Pixels& picture, int channels, const View& view,
              Interpolation interpolation);

}  // namespace pleat
