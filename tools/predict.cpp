// `pleat predict MODEL PICTURE...`: classes of JPEG and PNG files.
#include <iomanip>
#include <ostream>

#include "core/check.hpp"
#include "ops/model_file.hpp"
#include "tools/classify.hpp"
#include "tools/cli.hpp"
#include "tools/commands.hpp"
#include "tools/picture_options.hpp"

namespace pleat {

int predict_command(int argc, char** argv) {
  Cli cli("pleat predict", "Classes of JPEG and PNG files, by the inference engine.",
          "pleat predict mobilenet.safetensors cat.jpg dog.png --top 3");
  cli.argument("MODEL", "model file");
  cli.argument("PICTURE...", "JPEG or PNG files");
  cli.option("top", "N", "classes to print for each picture", "5");
  declare_view_options(cli);
  if (!cli.parse(argc, argv)) return 0;
  const int64_t top = cli.integer("top", 1);

  Model model = load_model(cli.argument("MODEL"));
  set_view(cli, model);
  Engine engine(model, {.tune = false});
  nlohmann::ordered_json pictures = nlohmann::ordered_json::array();
  for (const std::string& file : cli.arguments("PICTURE...")) {
    const Prediction p = classify(logits_of(engine), model, file, top);
    print_prediction(cli.out(), p);
    pictures.push_back(to_json(p));
  }
  cli.finish({{"pictures", pictures}});
  return 0;
}

}  // namespace pleat
