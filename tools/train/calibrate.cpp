#include "tools/train/calibrate.hpp"

#include <algorithm>
#include <map>
#include <vector>

#include "core/check.hpp"
#include "core/progress.hpp"
#include "data/loader.hpp"
#include "ops/exec/exec.hpp"
#include "ops/model_file.hpp"
#include "ops/spec.hpp"

namespace pleat {

int64_t calibrate(Model& model, const Dataset& data, const CalibrateOptions& options) {
  Model learner = model;
  bool has_norm = false;
  for (Node& node : learner.graph.nodes)
    if (std::holds_alternative<BatchNorm>(node.op)) {
      std::get<BatchNorm>(node.op).momentum = 1;  // the running statistics are those of the last batch alone
      has_norm = true;
    }
  PLEAT_CHECK(has_norm, "calibrate: the network has no batch norm; they may have been merged");
  PLEAT_CHECK(data.size() >= options.batch, "calibrate: data set '", data.name, "' has ", data.size(),
              " pictures, expected at least one batch of ", options.batch);
  std::map<std::string, std::vector<double>> sums;
  for (const Parameter& p : parameters(model.graph))
    if (!trainable(p.role)) sums[p.name].resize(model.tensors.at(p.name).values.size());

  Exec exec(learner.graph, learner.tensors, {.batch = options.batch, .training = true});
  Loader loader(data, picture_format(model),
                {.batch = options.batch,
                 .shuffle = true,
                 .drop_last = true,
                 .skip_broken = options.skip_broken,
                 .seed = options.seed,
                 .threads = loader_threads(data)});
  const int64_t batches = std::min(loader.batches(), std::max<int64_t>(1, options.pictures / options.batch));
  Progress progress("calibrate", "images", batches * options.batch, options.quiet);
  loader.start_epoch(0);
  for (int64_t b = 0; b < batches; ++b) {
    exec.run(loader.next()->images);
    for (auto& [name, sum] : sums)
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += learner.tensors.at(name).values[i];
    progress.update((b + 1) * options.batch);
  }
  for (const auto& [name, sum] : sums)
    std::ranges::transform(sum, model.tensors.at(name).values.begin(),
                           [&](double s) { return static_cast<float>(s / static_cast<double>(batches)); });
  verify(model);
  return batches * options.batch;
}

}  // namespace pleat
