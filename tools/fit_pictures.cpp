#include "tools/fit_pictures.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "core/check.hpp"
#include "core/progress.hpp"
#include "data/dataset_for.hpp"
#include "data/loader.hpp"
#include "fold/engine/engine.hpp"
#include "tools/train/evaluate.hpp"

namespace pleat {
namespace {

// Whether all pixels [pixels, channels] are the same.
bool has_one_colour(std::span<const float> picture, int64_t channels) {
  for (std::size_t i = channels; i < picture.size(); ++i)
    if (picture[i] != picture[i - channels]) return false;
  return true;
}

// What is the same in each call of the function that run_on_pictures returns.
struct Pictures {
  Dataset set;
  PictureFormat format;
  int64_t count;
  uint64_t seed;
  bool quiet;
  bool told = false;  // whether the user knows of broken files

  void run(const std::string& label, const std::vector<Model>& networks, const TakeOutputs& take);
  void tell_broken(const Loader& loader);
};

void Pictures::run(const std::string& label, const std::vector<Model>& networks, const TakeOutputs& take) {
  const int64_t batch = std::min(kUsualBatch, set.size()),
                size = int64_t{format.height} * format.width * format.channels;
  Loader loader(set, format,
                {.batch = batch, .shuffle = true, .skip_broken = true, .seed = seed, .threads = loader_threads(set)});
  std::vector<Engine> engines;
  for (const Model& network : networks) engines.emplace_back(network, EngineOptions{.batch = batch, .tune = false});
  std::vector<std::span<const float>> outputs(engines.size());
  Progress progress(label, "images", std::min(count, set.size()), quiet);
  loader.start_epoch(0);
  int64_t done = 0, plain = 0;
  while (const Batch* images = done < count ? loader.next() : nullptr) {
    const int64_t taken = std::min(images->size, count - done);
    if (taken == 0) continue;  // all files of this batch are broken
    for (std::size_t i = 0; i < engines.size(); ++i) {
      std::ranges::copy(images->images, engines[i].input().begin());
      outputs[i] = engines[i].run();
    }
    take(outputs, taken);
    for (int64_t i = 0; i < taken; ++i)
      plain += has_one_colour(images->images.subspan(i * size, size), format.channels);
    progress.update(done += taken);
  }
  PLEAT_CHECK_FILE(done > 0, set.name, "none of its ", set.size(),
                   " pictures can be read; the first: ", loader.broken().begin()->second);
  PLEAT_CHECK_FILE(
      2 * plain <= done, set.name, plain, " of ", done,
      " pictures are of one colour, expected at most half of them, as these do not determine a convolution");
  tell_broken(loader);
}

void Pictures::tell_broken(const Loader& loader) {
  const auto broken = loader.broken();
  if (!broken.empty() && !told && !quiet)
    std::fprintf(stderr, "pleat: warning: %zu files cannot be read and are passed over; the first: %s\n", broken.size(),
                 broken.begin()->second.c_str());
  told = true;
}

}  // namespace

RunNetworks run_on_pictures(const Model& model, const std::string& data, int64_t pictures, uint64_t seed, bool quiet) {
  const auto all =
      std::make_shared<Pictures>(Pictures{load_unlabelled(data), picture_format(model), pictures, seed, quiet});
  print_warning(all->set, quiet);
  return [all](const std::string& label, const std::vector<Model>& networks, const TakeOutputs& take) {
    all->run(label, networks, take);
  };
}

}  // namespace pleat
