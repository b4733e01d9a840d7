#include "tools/train/evaluate.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "core/finite.hpp"
#include "data/loader.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

// -log softmax(row)[label].
double cross_entropy(std::span<const float> row, int32_t label) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (float logit : row) sum += std::exp(logit - largest);
  return largest + std::log(sum) - row[label];
}

// How many classes have larger logits than the label.
int64_t rank_of(std::span<const float> row, int32_t label) {
  int64_t ahead = 0;
  for (int32_t c = 0; c < static_cast<int32_t>(row.size()); ++c)
    ahead += row[c] > row[label] || (row[c] == row[label] && c < label);
  return ahead;
}

// What the ranks have counted, added up in their order.
void add_ranks(Score& score, ProcessGroup& ranks) {
  double counted[] = {score.top1, score.top5, score.loss, static_cast<double>(score.images)};
  ranks.sum(counted);
  score.top1 = counted[0];
  score.top5 = counted[1];
  score.loss = counted[2];
  score.images = static_cast<int64_t>(counted[3]);
}

}  // namespace

LogitsFunction logits_of(Engine& engine) {
  return [&](std::span<const float> images, int64_t) {
    std::ranges::copy(images, engine.input().begin());
    return engine.run();
  };
}

Score evaluate(const Dataset& data, const Model& model, int64_t batch, bool skip_broken, const LogitsFunction& logits,
               Progress& progress, ProcessGroup ranks) {
  const auto classes = static_cast<std::size_t>(infer_shapes(model.graph).back().c);
  PLEAT_CHECK(data.classes.size() == classes, "data set '", data.name, "' has ", data.classes.size(),
              " classes, the model ", classes, " outputs",
              data.files.empty() ? "" : "\nhint: --class-list names the class folders in the order of the outputs");

  Loader loader(data, picture_format(model),
                {.batch = batch,
                 .skip_broken = skip_broken,
                 .threads = loader_threads(data),
                 .shard = ranks.rank(),
                 .shards = ranks.size()});
  loader.start_epoch(0);
  Score score;
  double seconds = 0;
  while (const Batch* part = loader.next()) {
    const Clock::time_point start = Clock::now();
    const std::span<const float> out = logits(part->images, part->size);
    seconds += seconds_since(start);
    check_logits(out.first(part->size * classes), classes, "evaluation");
    for (int64_t i = 0; i < part->size; ++i) {
      const auto row = out.subspan(i * classes, classes);
      const int64_t rank = rank_of(row, part->labels[i]);
      score.top1 += rank == 0;
      score.top5 += rank < 5;
      score.loss += cross_entropy(row, part->labels[i]);
    }
    score.images += part->size;
    progress.update(score.images * ranks.size());
  }
  add_ranks(score, ranks);
  for (const auto& [index, reason] : loader.broken()) score.broken.push_back(reason);
  PLEAT_CHECK_FILE(score.images > 0, data.root, "none of its ", data.size(), " pictures can be read");
  const auto n = static_cast<double>(score.images);
  score.top1 /= n;
  score.top5 /= n;
  score.loss /= n;
  score.images_per_second = n / seconds;
  return score;
}

void print_score(std::ostream& out, const Score& s) {
  out << "top-1 " << 100 * s.top1 << "%  top-5 " << 100 * s.top5 << "%  loss " << s.loss << "  on " << s.images
      << " pictures, " << s.images_per_second << " a second\n";
  if (!s.broken.empty()) out << s.broken.size() << " broken files passed over:\n";
  for (const std::string& reason : s.broken) out << "  " << reason << '\n';
}

nlohmann::ordered_json to_json(const Score& s) {
  return {{"top1", s.top1},     {"top5", s.top5},     {"loss", s.loss},
          {"images", s.images}, {"broken", s.broken}, {"images_per_second", s.images_per_second}};
}

}  // namespace pleat
