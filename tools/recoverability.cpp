#include "tools/recoverability.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "fold/fold.hpp"
#include "fold/mask.hpp"
#include "ops/spec.hpp"
#include "tools/train/feature_part.hpp"

namespace pleat {
namespace {

// The squared distance of each network's features from the first one's, as a fraction of the first one's squares.
std::vector<double> feature_errors(const std::vector<Model>& networks, const RunNetworks& run) {
  std::vector<Model> parts;
  for (const Model& network : networks) parts.push_back(feature_part(network));
  std::vector<double> errors(parts.size());
  const Nhwc shape = infer_shapes(parts.front().graph).back();
  const auto size = static_cast<std::size_t>(shape.c);  // of one picture's features
  double squares = 0;
  run("compare", parts, [&](std::span<const std::span<const float>> outputs, int64_t pictures) {
    const std::span<const float> wanted = outputs[0];
    const std::size_t count = size * pictures;
    for (std::size_t i = 0; i < count; ++i) squares += static_cast<double>(wanted[i]) * wanted[i];
    for (std::size_t n = 1; n < outputs.size(); ++n)
      for (std::size_t i = 0; i < count; ++i) {
        const double d = static_cast<double>(outputs[n][i]) - wanted[i];
        errors[n] += d * d;
      }
  });
  for (double& error : errors) error /= squares > 0 ? squares : 1;
  return errors;
}

}  // namespace

FittedDrops measure_fitted_drops(const Model& model, int longest, int kernel, const RunNetworks& run,
                                 const Stopwatch& stopwatch) {
  const int cells = static_cast<int>(foldable_activations(model).size());
  std::vector<Model> networks = {model};
  FittedDrops result;
  std::string why = "the network has none";
  for (int first = 0; first < cells; ++first)
    for (int last = first; last < std::min(cells, first + longest); ++last) {
      std::string mask(cells, '#');
      std::fill(mask.begin() + first, mask.begin() + last + 1, '.');
      try {
        networks.push_back(
            fold(model, {.mask = mask, .merge = FoldOptions::Merge::cheaper, .max_kernel = kernel, .fit = run}).model);
      } catch (const std::invalid_argument& reason) {
        why = reason.what();
        continue;
      }
      result.drops.push_back({.first = first, .last = last});
    }
  PLEAT_CHECK(!result.drops.empty(), "no activation can be fitted: ", why);
  const std::vector<double> errors = feature_errors(networks, run);
  const std::vector<double> seconds = stopwatch(static_cast<int>(networks.size()), [&](int i) { return networks[i]; });
  result.seconds = seconds[0];
  for (std::size_t i = 0; i < result.drops.size(); ++i) {
    result.drops[i].feature_error = errors[i + 1];
    result.drops[i].seconds = seconds[i + 1];
  }
  return result;
}

std::string choose_fitted_drops(const FittedDrops& measured, std::size_t cells, double speedup) {
  std::vector<FittedDrop> drops = measured.drops;
  std::erase_if(drops, [&](const FittedDrop& drop) { return drop.seconds >= measured.seconds; });
  std::ranges::stable_sort(
      drops, {}, [&](const FittedDrop& drop) { return drop.feature_error / (measured.seconds - drop.seconds); });
  std::string mask(cells, '#');
  double seconds = measured.seconds;
  for (const FittedDrop& drop : drops) {
    if (measured.seconds >= speedup * seconds) break;
    const int from = std::max(drop.first - 1, 0), to = std::min<int>(drop.last + 1, static_cast<int>(cells) - 1);
    if (mask.find('.', from) <= static_cast<std::size_t>(to)) continue;  // it would touch another run
    std::fill(mask.begin() + drop.first, mask.begin() + drop.last + 1, '.');
    seconds -= measured.seconds - drop.seconds;
  }
  PLEAT_CHECK_FILE(measured.seconds >= speedup * seconds, "shrink", "dropping makes the network ",
                   measured.seconds / seconds, " times as fast, expected ", speedup, "\nhint: a lower --min-speedup");
  return mask;
}

}  // namespace pleat
