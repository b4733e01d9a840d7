#include "data/stb.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "core/check.hpp"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
// Zeroed, so that no picture ever shows what was in memory before.
#define STBI_MALLOC(size) std::calloc(1, size)
#define STBI_REALLOC(memory, size) std::realloc(memory, size)
#define STBI_FREE(memory) std::free(memory)
// GCC 12 does not see that a function which is given the picture's source fills it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <stb_image.h>

namespace pleat {

Picture decode_by_stb(const PictureBytes& file, const char* kind, int64_t width, int64_t height) {
  int own_width = 0, own_height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(file.bytes.data(), static_cast<int>(file.bytes.size()), &own_width, &own_height, &channels,
                            4),
      stbi_image_free);
  std::string reason = pixels ? "" : stbi_failure_reason();  // may quote the file's bytes
  std::replace_if(
      reason.begin(), reason.end(), [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  PLEAT_CHECK_FILE(pixels != nullptr, file.name, "is a ", kind, " file that cannot be decoded: ", reason);
  PLEAT_CHECK_FILE(own_width == width && own_height == height, file.name, "is a ", kind,
                   " file that contradicts itself: ", own_width, "x", own_height, " or ", width, "x", height,
                   " pixels");
  return {own_height, own_width, 4, {pixels.get(), pixels.get() + 4 * width * height}};
}

}  // namespace pleat
