#include "tools/agreement.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/finite.hpp"
#include "core/progress.hpp"
#include "data/loader.hpp"
#include "fold/engine/engine.hpp"
#include "tools/train/evaluate.hpp"

namespace pleat {

Agreement measure_agreement(const Model& before, const Model& after, const Dataset& data, bool skip_broken,
                            bool quiet) {
  Loader loader(data, picture_format(before),
                {.batch = kUsualBatch, .skip_broken = skip_broken, .threads = loader_threads(data)});
  Engine first(before, EngineOptions{.batch = kUsualBatch, .tune = false}),
      second(after, EngineOptions{.batch = kUsualBatch, .tune = false});
  const auto classes = static_cast<int64_t>(data.classes.size());
  Progress progress("compare", "images", data.size(), quiet);
  Agreement result;
  loader.start_epoch(0);
  while (const Batch* batch = loader.next()) {
    const auto run = [&](Engine& engine) {
      const std::span<const float> logits = logits_of(engine)(batch->images, batch->size).first(batch->size * classes);
      check_logits(logits, classes, "comparison");
      return logits;
    };
    const std::span<const float> a = run(first), b = run(second);
    for (int64_t i = 0; i < batch->size; ++i) {
      const auto top = [&](std::span<const float> logits) {
        const auto row = logits.subspan(i * classes, classes);
        return std::ranges::max_element(row) - row.begin();
      };
      const bool right_a = top(a) == batch->labels[i], right_b = top(b) == batch->labels[i];
      result.right_before += right_a;
      result.right_after += right_b;
      result.turned_right += !right_a && right_b;
      result.turned_wrong += right_a && !right_b;
      result.same += top(a) == top(b);
    }
    progress.update(result.images += batch->size);
  }
  return result;
}

void print_agreement(std::ostream& out, const Agreement& a) {
  const auto percent = [&](int64_t count) { return 100 * static_cast<double>(count) / static_cast<double>(a.images); };
  out << "top-1 " << percent(a.right_before) << "% -> " << percent(a.right_after) << "% of " << a.images
      << " pictures: " << a.turned_right << " turned right, " << a.turned_wrong << " turned wrong\n"
      << "the same class as before on " << percent(a.same) << "%\n";
}

nlohmann::ordered_json to_json(const Agreement& a) {
  const auto share = [&](int64_t count) { return static_cast<double>(count) / static_cast<double>(a.images); };
  return {{"top1_base", share(a.right_before)}, {"top1", share(a.right_after)},   {"agreement", share(a.same)},
          {"turned_right", a.turned_right},     {"turned_wrong", a.turned_wrong}, {"images", a.images}};
}

}  // namespace pleat
