// stb_image, which decodes PNG and BMP files once data/png.cpp and data/bitmap.cpp have checked them.
#pragma once

#include "data/decoders.hpp"

namespace pleat {

/// The pixels, of step 4. Throws std::runtime_error with stb_image's reason, calling the file a `kind` file, also where
/// its size is not width x height.
Picture decode_by_stb(const PictureBytes& file, const char* kind, int64_t width, int64_t height);

}  // namespace pleat
