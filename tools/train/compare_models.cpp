#include "tools/train/compare_models.hpp"

#include <algorithm>

#include "core/check.hpp"
#include "data/loader.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

// The last value that still has borders: what enters the last global pooling. -1 where there is none.
int last_map(const Graph& graph) {
  for (int i = graph.output(); i > 0; --i)
    if (std::holds_alternative<GlobalAvgPool>(graph.nodes[i].op)) return graph.nodes[i].inputs[0];
  return -1;
}

}  // namespace

Comparison::Side::Side(const Model& m, int64_t batch, Kernels kernels, const std::optional<EngineOptions>& options)
    : model(m), shapes(infer_shapes(m.graph, batch)), map(options ? -1 : last_map(m.graph)) {
  if (options) {
    engine.emplace(model, *options);
    return;
  }
  tensors = model.tensors;
  const std::vector<int> keep = map < 0 ? std::vector<int>{} : std::vector<int>{map};
  exec.emplace(model.graph, tensors, ExecOptions{.batch = batch, .kernels = kernels, .keep = keep});
}

std::span<const float> Comparison::Side::run(std::span<const float> images) {
  if (exec) return exec->run(images);
  std::ranges::copy(images, engine->input().begin());
  return engine->run();
}

Comparison::Comparison(const Model& a, const Model& b, int64_t batch, Kernels kernels,
                       const std::optional<EngineOptions>& engine)
    : a_(a, batch, kernels, {}), b_(b, batch, kernels, engine), batch_(batch) {
  PLEAT_CHECK(a.graph.nodes[0].op == b.graph.nodes[0].op, "the models take different pictures: ", to_text(a.graph, 0),
              " and ", to_text(b.graph, 0));
  PLEAT_CHECK(a_.shapes.back() == b_.shapes.back(),
              "the models have different numbers of outputs: ", a_.shapes.back().c, " and ", b_.shapes.back().c);
}

void Comparison::add(std::span<const float> images, int64_t n) {
  const int64_t classes = a_.shapes.back().c;
  const auto first = [&](std::span<const float> values, int64_t each) { return values.first(n * each); };
  const auto logits_a = a_.run(images), logits_b = b_.run(images);
  proof_.add_logits(first(logits_a, classes), first(logits_b, classes), classes);
  if (!compares_maps() || a_.shapes[a_.map] != b_.shapes[b_.map]) return;
  Nhwc shape = a_.shapes[a_.map];
  shape.n = n;
  const int64_t each = shape.h * shape.w * shape.c;
  proof_.add_maps(first(a_.exec->value(a_.map), each), first(b_.exec->value(b_.map), each), shape, 1);
}

void Comparison::add(const Dataset& data, Progress& progress) {
  const PictureFormat format = picture_format(a_.model);
  PLEAT_CHECK(format == picture_format(b_.model),
              "the models want their pictures prepared differently: normalisation, crop or interpolation");
  Loader loader(data, format, {.batch = batch_, .threads = loader_threads(data)});
  loader.start_epoch(0);
  while (const Batch* batch = loader.next()) {
    add(batch->images, batch->size);
    progress.update(proof_.images());
  }
}

}  // namespace pleat
