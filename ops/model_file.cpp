#include "ops/model_file.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/safetensors.hpp"
#include "ops/parameter_values.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

constexpr char kGraph[] = "pleat.graph", kMean[] = "pleat.mean", kStd[] = "pleat.std", kClasses[] = "pleat.classes",
               kCrop[] = "pleat.crop", kInterpolation[] = "pleat.interpolation";

std::string join(const std::vector<std::string>& parts, char separator) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) text += (i ? std::string(1, separator) : "") + parts[i];
  return text;
}

// The parts between separators. An empty text has none.
std::vector<std::string> split_text(const std::string& text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return parts;
    begin = end + 1;
  }
}

template <class T>
std::string print_numbers(const std::vector<T>& numbers) {
  std::vector<std::string> parts;
  for (T number : numbers) {
    std::array<char, 32> digits;  // the shortest text that reads back to the same number
    parts.emplace_back(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
  }
  return join(parts, ',');
}

template <class T>
std::vector<T> read_numbers(const std::string& text, const char* what) {
  std::vector<T> numbers;
  for (const std::string& part : split_text(text, ',')) {
    T number;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    PLEAT_CHECK(error == std::errc{} && end == part.data() + part.size(), what, " has something that is not a number");
    numbers.push_back(number);
  }
  return numbers;
}

// Removes an entry of the metadata and returns its text.
std::string take(std::map<std::string, std::string>& metadata, const char* key) {
  auto entry = metadata.extract(key);
  PLEAT_CHECK(!entry.empty(), "the metadata have no ", key);
  return std::move(entry.mapped());
}

// Older files lack both entries.
void read_view(Model& model, std::map<std::string, std::string>& metadata) {
  model.crop = usual_crop(std::get<Input>(model.graph.nodes[0].op));
  if (metadata.contains(kCrop)) {
    const std::vector<double> numbers = read_numbers<double>(take(metadata, kCrop), kCrop);
    PLEAT_CHECK(numbers.size() == 1, kCrop, " holds ", numbers.size(), " numbers, expected one");
    model.crop = numbers[0];
  }
  if (!metadata.contains(kInterpolation)) return;
  const std::string name = take(metadata, kInterpolation);
  for (const Interpolation known : {Interpolation::bilinear, Interpolation::bicubic})
    if (name == to_string(known)) model.interpolation = known;
  PLEAT_CHECK(name == to_string(model.interpolation), kInterpolation, " is neither bilinear nor bicubic");
}

}  // namespace

void verify(const Model& model) {
  verify(model.graph, model.tensors);
  for (const Parameter& p : parameters(model.graph)) {
    const std::string fault = value_fault(p.role, model.tensors.at(p.name).values);
    PLEAT_CHECK(fault.empty(), "parameter '", p.name, '\'', fault);
  }
  const std::size_t channels = static_cast<std::size_t>(std::get<Input>(model.graph.nodes[0].op).channels);
  PLEAT_CHECK(model.mean.size() == channels && model.std.size() == channels, "input normalisation: ", model.mean.size(),
              " means and ", model.std.size(), " stds, expected ", channels, ", one a channel");
  for (std::size_t c = 0; c < channels; ++c)
    PLEAT_CHECK(std::isfinite(model.mean[c]) && std::isfinite(model.std[c]) && model.std[c] > 0,
                "input normalisation: channel ", c, " has mean ", model.mean[c], " and std ", model.std[c],
                ", expected finite numbers and std > 0");
  PLEAT_CHECK(model.crop > 0 && model.crop <= 1, "crop is ", model.crop, ", expected more than 0, at most 1");
  const std::size_t outputs = static_cast<std::size_t>(infer_shapes(model.graph).back().c);
  PLEAT_CHECK(model.classes.empty() || model.classes.size() == outputs, model.classes.size(), " class names for ",
              outputs, " outputs, expected one each or none");
  for (const std::string& name : model.classes)
    PLEAT_CHECK(!name.empty() && name.find('\n') == std::string::npos, "a class name is empty or has a line break");
  for (const char* key : {kGraph, kMean, kStd, kClasses, kCrop, kInterpolation})
    PLEAT_CHECK(!model.notes.contains(key), "the note ", key, " is a key of the file format");
}

Model make_model(SafetensorsFile file, const std::string& name) {
  PLEAT_CHECK_FILE(
      file.metadata.contains(kGraph), name,
      "is not a Pleat model: it has weights but no network (pleat.graph); `pleat import` makes a model of a "
      "state_dict");
  Model model;
  try {
    model.graph = parse_graph(take(file.metadata, kGraph));
    model.mean = read_numbers<float>(take(file.metadata, kMean), kMean);
    model.std = read_numbers<float>(take(file.metadata, kStd), kStd);
    read_view(model, file.metadata);
    model.classes = split_text(take(file.metadata, kClasses), '\n');
    model.tensors = std::move(file.tensors);
    model.notes = std::move(file.metadata);
    verify(model);
  } catch (const std::invalid_argument& error) {
    PLEAT_CHECK_FILE(false, name, error.what());
  }
  return model;
}

Model parse_model(std::span<const std::byte> bytes, const std::string& name) {
  return make_model(parse_safetensors(bytes, name), name);
}

Model load_model(const std::string& path) {
  return parse_model(read_safetensors(path), path);
}

std::map<std::string, std::string> metadata(const Model& model) {
  std::map<std::string, std::string> metadata = model.notes;
  metadata[kGraph] = to_text(model.graph);
  metadata[kMean] = print_numbers(model.mean);
  metadata[kStd] = print_numbers(model.std);
  metadata[kCrop] = print_numbers(std::vector{model.crop});
  metadata[kInterpolation] = to_string(model.interpolation);
  metadata[kClasses] = join(model.classes, '\n');
  return metadata;
}

void save_model(const std::string& path, const Model& model) {
  verify(model);
  save_safetensors(path, model.tensors, metadata(model));
}

}  // namespace pleat
