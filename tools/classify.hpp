// Classifies a picture file. This code is also part of pleat-run, so it must not need BLAS.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "tools/train/evaluate.hpp"

namespace pleat {

/// The most likely classes of one picture, the best first.
struct Prediction {
  std::string file;
  std::vector<std::string> classes;  ///< Their names, or their numbers if the model has no names.
  std::vector<double> scores;        ///< Their softmax probabilities, 0 to 1.
};

/// Classifies the picture in `file` and returns its `top` most likely classes, or all if there are fewer. `logits`
/// computes the logits of `model` for one picture. Throws std::runtime_error if the file is not a picture or
/// a logit is not finite.
Prediction classify(const LogitsFunction& logits, const Model& model, const std::string& file, int64_t top);

/// Prints the file's name and one line for each class.
void print_prediction(std::ostream& out, const Prediction& prediction);

/// A JSON object with the fields file, classes and scores.
nlohmann::ordered_json to_json(const Prediction& prediction);

}  // namespace pleat
