// Classes of a picture file. Free of BLAS: pleat-run uses it too.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "tools/train/evaluate.hpp"

namespace pleat {

/// The likeliest classes of one picture, best first.
struct Prediction {
  std::string file;
  std::vector<std::string> classes;  ///< Names, or numbers where the model has no names.
  std::vector<double> scores;        ///< Softmax, 0 to 1.
};

/// `logits` are those of `model` for one picture at a time; `top` may exceed the number of classes. Throws
/// std::runtime_error for a file that is no picture.
Prediction classify(const LogitsFunction& logits, const Model& model, const std::string& file, int64_t top);

/// The file, and a line a class.
void print_prediction(std::ostream& out, const Prediction& prediction);

/// file, classes, scores.
nlohmann::ordered_json to_json(const Prediction& prediction);

}  // namespace pleat
