// What convolutions of our own call as they go from pixels to pixels, so that others can do their part of the work
// while those are in the thread's cache.
#pragma once

#include "core/parallel.hpp"

namespace pleat {

/// For forward, x and y; for backward, the others.
struct ConvHooks {
  PixelHook x;      ///< Before forward reads them.
  PixelHook y;      ///< When forward has written them.
  PixelHook again;  ///< Of x, before backward reads them.
  PixelHook dy;     ///< Before backward reads them.
  PixelHook dx;     ///< When backward has written them.
};

}  // namespace pleat
