// Model files: they survive being written and read, and bad models and bad files are refused.
#include "ops/model_file.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/file.hpp"
#include "core/rng.hpp"
#include "core/safetensors.hpp"
#include "ops/spec.hpp"
#include "tests/error_of.hpp"
#include "tests/temp_dir.hpp"

using namespace pleat;

namespace {

Model small_model() {
  Model model;
  int x = model.graph.add("input", Input{3, 8, 8}, {});
  x = model.graph.add("conv", Conv2d{4, 3, 1, Padding::uniform(1), 1, true}, {x});
  x = model.graph.add("act", AlphaAct{Nonlinearity::relu, "act.alpha"}, {x});
  x = model.graph.add("pool", GlobalAvgPool{}, {x});
  model.graph.add("fc", Linear{2, true}, {x});
  model.tensors = initial_tensors(model.graph, 1);
  model.mean = {0.1f, 1.0f / 3, 1e-20f};
  model.std = {0.2471f, 3e20f, 1};
  model.classes = {"cat", "polar bear"};
  model.notes = {{"seed", "1"}, {"recipe", "a \"quoted\"\nline \\ and \xc3\xa9"}};
  return model;
}

bool equal(const Model& a, const Model& b) {
  return a.graph == b.graph && a.tensors == b.tensors && a.mean == b.mean && a.std == b.std && a.classes == b.classes &&
         a.notes == b.notes;
}

}  // namespace

TEST_CASE("model file: round trip") {
  const TempDir folder;
  const Model model = small_model();
  save_model(folder.path("m.safetensors"), model);
  CHECK(equal(load_model(folder.path("m.safetensors")), model));
  Model bare = model;
  bare.classes.clear();
  bare.notes.clear();
  save_model(folder.path("m.safetensors"), bare);
  CHECK(equal(load_model(folder.path("m.safetensors")), bare));
  CHECK(folder.files() == 1);
}

TEST_CASE("model file: a bad model is not written") {
  const TempDir folder;
  const auto error = [&](const auto& spoil) {
    Model model = small_model();
    spoil(model);
    return error_of<std::invalid_argument>([&] { save_model(folder.path("m"), model); });
  };
  CHECK(holds(error([](Model& m) { m.tensors.erase("conv.bias"); }), "'conv.bias' is missing"));
  CHECK(holds(error([](Model& m) { m.tensors["more"] = Tensor({1}); }), "'more' [1] is left over"));
  CHECK(holds(error([](Model& m) { m.tensors["fc.bias"] = Tensor({3}); }), "'fc.bias' has shape [3], expected [2]"));
  CHECK(holds(error([](Model& m) { m.graph.nodes.clear(); }), "the first node must be the input"));
  CHECK(holds(error([](Model& m) { m.tensors.at("fc.bias").values[1] = -INFINITY; }),
              "parameter 'fc.bias'[1] is -inf, expected a finite number"));
  CHECK(holds(error([](Model& m) { m.mean.pop_back(); }), "2 means and 3 stds, expected 3"));
  CHECK(holds(error([](Model& m) { m.std.clear(); }), "3 means and 0 stds, expected 3"));
  CHECK(holds(error([](Model& m) { m.mean[1] = NAN; }), "channel 1 has mean nan"));
  CHECK(holds(error([](Model& m) { m.std[2] = 0; }), "channel 2 has mean 1e-20 and std 0"));
  CHECK(holds(error([](Model& m) { m.std[0] = -1; }), "std -1"));
  CHECK(holds(error([](Model& m) { m.std[0] = INFINITY; }), "std inf"));
  CHECK(holds(error([](Model& m) { m.crop = 0; }), "crop is 0"));
  CHECK(holds(error([](Model& m) { m.crop = NAN; }), "crop is nan"));
  CHECK(holds(error([](Model& m) { m.classes.pop_back(); }), "1 class names for 2 outputs"));
  CHECK(holds(error([](Model& m) { m.classes[0] = ""; }), "a class name is empty"));
  CHECK(holds(error([](Model& m) { m.classes[0] = "a\nb"; }), "line break"));
  CHECK(holds(error([](Model& m) { m.notes["pleat.graph"] = "x"; }), "the note pleat.graph"));
  CHECK(folder.files() == 0);
}

TEST_CASE("model file: the error for a bad file names the file and the reason") {
  const TempDir folder;
  const std::string path = folder.path("m.safetensors");
  const Model model = small_model();
  save_model(path, model);
  const SafetensorsFile good = load_safetensors(path);
  const auto error = [&](const auto& spoil) {
    SafetensorsFile file = good;
    spoil(file);
    save_safetensors(path, file.tensors, file.metadata);
    const std::string message = error_of<std::runtime_error>([&] { load_model(path); });
    CHECK(message.starts_with(path + ": "));
    return message;
  };
  CHECK(holds(error([](auto& f) { f.metadata.clear(); }), "is not a Pleat model"));
  CHECK(holds(error([](auto& f) { f.metadata.clear(); }), "pleat import"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.graph"] = "conv9 x"; }), "graph line 1: unknown op 'conv9'"));
  CHECK(holds(error([](auto& f) { f.metadata.erase("pleat.mean"); }), "no pleat.mean"));
  CHECK(holds(error([](auto& f) { f.metadata.erase("pleat.classes"); }), "no pleat.classes"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.mean"] = "1,2"; }), "2 means and 3 stds"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.mean"] = "1,2,"; }),
              "pleat.mean has something that is not a number"));
  CHECK(
      holds(error([](auto& f) { f.metadata["pleat.std"] = "1,2,x"; }), "pleat.std has something that is not a number"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.std"] = "1,2,nan"; }), "std nan"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.crop"] = "1.5"; }), "crop is 1.5"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.crop"] = ""; }), "pleat.crop holds 0 numbers"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.interpolation"] = "cubic"; }), "neither bilinear nor bicubic"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.classes"] = "a\nb\nc"; }), "3 class names for 2 outputs"));
  CHECK(holds(error([](auto& f) { f.metadata["pleat.classes"] = "a\n"; }), "a class name is empty"));
  CHECK(holds(error([](auto& f) { f.tensors.erase("fc.weight"); }), "'fc.weight' is missing"));
  CHECK(holds(error([](auto& f) { f.tensors["fc.weight"] = Tensor({4, 2}); }), "shape [4, 2], expected [2, 4]"));
  CHECK(holds(error([](auto& f) { f.tensors["x"] = Tensor({1}); }), "'x' [1] is left over"));
}

TEST_CASE("model file: crop and interpolation are kept, and files without them have the usual ones") {
  const TempDir folder;
  Model model = small_model();
  model.crop = 224.0 / 257;
  model.interpolation = Interpolation::bicubic;
  save_model(folder.path("m"), model);
  CHECK(load_model(folder.path("m")).crop == model.crop);
  CHECK(load_model(folder.path("m")).interpolation == Interpolation::bicubic);
  SafetensorsFile file = load_safetensors(folder.path("m"));
  CHECK(file.metadata.erase("pleat.crop") + file.metadata.erase("pleat.interpolation") == 2);
  save_safetensors(folder.path("m"), file.tensors, file.metadata);
  CHECK(load_model(folder.path("m")).crop == 1);
  CHECK(load_model(folder.path("m")).interpolation == Interpolation::bilinear);
}

TEST_CASE("model file: truncated anywhere or with any bit flipped, it is refused or read as it was") {
  const TempDir folder;
  save_model(folder.path("m"), small_model());
  const std::vector<std::byte> good = read_file(folder.path("m"));
  for (std::size_t size = 0; size < good.size(); ++size) {
    const std::string message = error_of<std::runtime_error>([&] { parse_model(std::span(good).first(size), "m"); });
    CHECK(message.starts_with("m: "));
  }
  // A flipped bit in the data or in a note is not detected; anywhere else it must cause an error.
  Rng rng(2);
  int refused = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    std::vector<std::byte> bytes = good;
    bytes[rng.below(static_cast<uint32_t>(bytes.size()))] ^= std::byte{1} << rng.below(8);
    const std::string message = error_of<std::runtime_error>([&] { parse_model(bytes, "m"); });
    CHECK((message == "no error" || message.starts_with("m: ")));
    CHECK(!holds(message, "\n"));
    refused += message != "no error";
  }
  CHECK(refused > 500);
}
