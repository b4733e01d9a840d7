// `pleat predict MODEL PICTURE...`: classes of JPEG and PNG files.
#include <iomanip>
#include <ostream>

#include "core/check.hpp"
#include "ops/model_file.hpp"
#include "tools/classify.hpp"
#include "tools/cli.hpp"
#include "tools/commands.hpp"

namespace pleat {

int predict_command(int argc, char** argv) {
  Cli cli("pleat predict", "Classes of JPEG and PNG files, by the inference engine.",
          "pleat predict mobilenet.safetensors cat.jpg dog.png --top 3");
  cli.argument("MODEL", "model file");
  cli.argument("PICTURE...", "JPEG or PNG files");
  cli.option("top", "N", "classes to print for each picture", "5");
  cli.option("crop", "X", "middle part of the shorter side to look at (default: 0.875, for small networks 1)");
  if (!cli.parse(argc, argv)) return 0;
  const int64_t top = cli.integer("top", 1);
  if (cli.has("crop")) cli.number("crop", 0.01, 1);

  const Model model = load_model(cli.argument("MODEL"));
  const double crop = cli.has("crop") ? cli.number("crop", 0.01, 1) : usual_crop(model);
  Engine engine(model, 1);
  nlohmann::ordered_json pictures = nlohmann::ordered_json::array();
  for (const std::string& file : cli.arguments("PICTURE...")) {
    const Prediction p = classify(engine, model, file, top, crop);
    print_prediction(cli.out(), p);
    pictures.push_back(to_json(p));
  }
  cli.finish({{"pictures", pictures}});
  return 0;
}

}  // namespace pleat
