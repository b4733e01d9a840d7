#include "tools/train/distill.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "core/clock.hpp"
#include "data/loader.hpp"
#include "ops/spec.hpp"
#include "tools/train/feature_part.hpp"
#include "tools/train/objective.hpp"

namespace pleat {
namespace {

// The first batch of the pictures as the network sees them, without augmentation.
std::vector<float> first_pictures(const Model& model, const TrainingData& data, const Recipe& recipe, int64_t batch) {
  Loader loader(data.train, picture_format(model),
                {.batch = batch,
                 .shuffle = true,
                 .drop_last = true,
                 .skip_broken = recipe.skip_broken,
                 .seed = recipe.seed,
                 .threads = loader_threads(data.train)});
  loader.start_epoch(0);
  const std::span<const float> images = loader.next()->images;
  return {images.begin(), images.end()};
}

bool has_one_colour(std::span<const float> picture, int64_t channels) {
  for (std::size_t i = channels; i < picture.size(); ++i)
    if (picture[i] != picture[i - channels]) return false;
  return true;
}

}  // namespace

void check_distillation(const Model& model, const Model& teacher, const TrainingData& data, const Recipe& recipe) {
  const int64_t outputs = infer_shapes(model.graph).back().c, of_teacher = infer_shapes(teacher.graph).back().c;
  PLEAT_CHECK_FILE(of_teacher == outputs, recipe.teacher, "the teacher has ", of_teacher, " outputs, expected ",
                   outputs);
  PLEAT_CHECK_FILE(data.test.size() == 0 || std::ssize(data.test.classes) == outputs, recipe.val, "has ",
                   data.test.classes.size(), " classes, the model ", outputs,
                   " outputs\nhint: --class-list names the class folders in the order of the outputs");
  PLEAT_CHECK_FILE(data.train.size() >= recipe.batch, recipe.data, "has ", data.train.size(),
                   " pictures, expected at least one batch of ", recipe.batch);
  Recipe one = recipe;
  one.batch = 1;
  const Objective fits(one, model, &teacher);
  const std::vector<float> pictures = first_pictures(model, data, recipe, recipe.batch);
  const int64_t channels = std::get<Input>(model.graph.nodes[0].op).channels;
  const std::size_t size = pictures.size() / recipe.batch;
  int64_t plain = 0;
  for (int64_t i = 0; i < recipe.batch; ++i)
    plain += has_one_colour(std::span(pictures).subspan(i * size, size), channels);
  PLEAT_CHECK_FILE(2 * plain <= recipe.batch, recipe.data, plain, " of ", recipe.batch,
                   " pictures are of one colour, expected at most half of them, as these say nothing of features");
}

int64_t epochs_within(double seconds, const Model& model, const Model& teacher, const TrainingData& data,
                      const Recipe& recipe) {
  Model part = feature_part(model);
  Exec exec(part.graph, part.tensors, training_options(recipe));
  Objective objective(recipe, model, &teacher);
  const std::vector<float> pictures = first_pictures(model, data, recipe, recipe.batch);
  const Batch batch{.images = pictures, .labels = {}, .size = recipe.batch};
  constexpr int kSteps = 3;
  Clock::time_point start;
  for (int step = 0; step <= kSteps; ++step) {
    if (step == 1) start = Clock::now();  // the first one touches its memory for the first time
    exec.run(batch.images);
    objective.loss_and_gradient(exec.output_gradient(), exec.output(), batch);
    exec.backward();
  }
  const double epoch = seconds_since(start) / kSteps * static_cast<double>(data.train.size() / recipe.batch);
  return std::max<int64_t>(1, std::llround(std::floor(seconds / epoch)));
}

}  // namespace pleat
