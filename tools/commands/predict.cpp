// `pleat predict MODEL PICTURE...` classifies picture files, or computes the outputs for a tensor of normalised
// pixels.
#include <algorithm>
#include <ostream>

#include "core/check.hpp"
#include "core/finite.hpp"
#include "core/safetensors.hpp"
#include "ops/flatten.hpp"
#include "ops/model_file.hpp"
#include "tools/classify.hpp"
#include "tools/cli.hpp"
#include "tools/commands/commands.hpp"
#include "tools/engine_options.hpp"
#include "tools/network_options.hpp"
#include "tools/open_model.hpp"
#include "tools/picture_options.hpp"

namespace pleat {
namespace {

using Json = nlohmann::ordered_json;

Json classify_pictures(const Cli& cli) {
  const int64_t top = cli.integer("top", 1);
  Model model = load_model(cli.argument("MODEL"));
  set_view(cli, model);
  Engine engine(model, engine_options(cli, 1));
  Json pictures = Json::array();
  for (const std::string& file : cli.arguments("[PICTURE...]")) {
    const Prediction p = classify(logits_of(engine), model, file, top);
    print_prediction(cli.out(), p);
    pictures.push_back(to_json(p));
  }
  return {{"pictures", pictures}};
}

// Reads the tensor `input` [N,C,H,W] from one file and writes the tensor `output` to another. The output is [N,
// classes], or [N,C,H,W] if it has more than one pixel.
Json run_numbers(const Cli& cli) {
  const std::string &file = cli.text("input"), &out = cli.text("output");
  const Model model = open_model(cli.argument("MODEL"), cli.seed(), "", "", network_options(cli));
  const Tensors given = load_safetensors(file).tensors;
  PLEAT_CHECK_FILE(given.contains("input"), file, "has no tensor 'input'");
  const Tensor& input = given.at("input");
  const Input& wanted = std::get<Input>(model.graph.nodes[0].op);
  const std::vector<int64_t>& shape = input.shape;
  PLEAT_CHECK_FILE(shape.size() == 4 && shape[0] > 0 && shape[1] == wanted.channels && shape[2] == wanted.height &&
                       shape[3] == wanted.width,
                   file, "input is ", to_string(shape), ", expected [N, ", wanted.channels, ", ", wanted.height, ", ",
                   wanted.width, "], N at least 1");
  const std::size_t wrong = first_not_finite(input.values);
  PLEAT_CHECK_FILE(wrong == input.values.size(), file, "input[", wrong, "] is ", input.values[wrong],
                   ", expected a finite number");
  const int64_t count = shape[0], batch = std::min(count, kUsualBatch);
  Engine engine(model, engine_options(cli, batch));
  const Nhwc x = engine.input_shape(), y = engine.output_shape();
  const int64_t each_x = x.h * x.w * x.c, each_y = y.h * y.w * y.c;
  Tensor output(y.h * y.w == 1 ? std::vector{count, y.c} : std::vector{count, y.c, y.h, y.w});
  for (int64_t first = 0; first < count; first += batch) {
    const int64_t n = std::min(batch, count - first);
    // Files have PyTorch's NCHW and the engine has NHWC; Flatten converts between the two.
    const std::span<const float> from(input.values.data() + first * each_x, n * each_x);
    flatten_backward<float>(engine.input().first(n * each_x), from, {n, x.h, x.w, x.c});
    const std::span<float> to(output.values.data() + first * each_y, n * each_y);
    flatten_forward<float>(to, engine.run().first(n * each_y), {n, y.h, y.w, y.c});
    check_logits(to, each_y, file);
  }
  save_safetensors(out, {{"output", std::move(output)}}, {});
  cli.out() << "outputs of " << count << " pictures -> " << out << '\n';
  return {{"images", count}};
}

}  // namespace

int predict_command(int argc, char** argv) {
  Cli cli("pleat predict", "Classifies picture files by the inference engine, or computes its outputs for a tensor.",
          "pleat predict mobilenet.safetensors cat.jpg dog.png --top 3\n"
          "pleat predict mobilenet.safetensors --input pictures.safetensors --output logits.safetensors");
  cli.accept_bf16();
  cli.argument("MODEL", "model file");
  cli.argument("[PICTURE...]", "picture files (JPEG, PNG, BMP, PPM or PGM)");
  cli.option("top", "N", "classes to print for each picture", "5");
  cli.option("input", "FILE", "instead of pictures: safetensors file with a tensor `input` [N,C,H,W], normalised");
  cli.option("output", "FILE", "with --input: safetensors file to write, with a tensor `output` of logits [N,classes]");
  declare_view_options(cli);
  declare_engine_tune(cli);
  declare_network_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const bool pictures = !cli.arguments("[PICTURE...]").empty();
  if (pictures == cli.has("input"))
    cli.usage_error("got both or neither of PICTURE... and --input, expected one of them");
  if (cli.has("input") != cli.has("output")) cli.usage_error("got only one of --input and --output, expected both");
  cli.finish(pictures ? classify_pictures(cli) : run_numbers(cli));
  return 0;
}

}  // namespace pleat
