#include "tools/train/mix_pictures.hpp"

#include "core/parallel.hpp"
#include "core/rng.hpp"

namespace pleat {
namespace {

constexpr uint64_t kStream = uint64_t{3} << 62;  // the loader's streams have the top bit alone

}  // namespace

std::span<const float> PictureMixer::mix(std::span<const float> images, int64_t pictures, int64_t step) {
  Rng rng(seed_, kStream + static_cast<uint64_t>(step));
  if (pictures < 2 || rng.uniform() >= share_) return images;
  const auto w = static_cast<float>(rng.uniform());
  const int64_t shift = 1 + rng.below(static_cast<uint32_t>(pictures - 1)), size = std::ssize(images) / pictures;
  mixed_.resize(images.size());
  parallel_for(pictures, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      const float* const a = images.data() + i * size;
      const float* const b = images.data() + (i + shift) % pictures * size;
      float* const out = mixed_.data() + i * size;
      for (int64_t k = 0; k < size; ++k) out[k] = w * a[k] + (1 - w) * b[k];
    }
  });
  return mixed_;
}

}  // namespace pleat
