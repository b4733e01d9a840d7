#include "tools/load_state_dict.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <set>

#include "core/check.hpp"
#include "core/first_few.hpp"
#include "ops/parameter_values.hpp"
#include "ops/spec.hpp"

namespace pleat {
namespace {

// A checkpoint whose batch norms were folded into its convolutions has `conv.bias` instead of them: the batch norm
// becomes the identity, plus that bias unless the convolution has one of its own, and the network stays trainable.
void unfold_batch_norms(const Graph& graph, Tensors& given) {
  std::set<std::string> wanted;
  for (const Parameter& p : parameters(graph)) wanted.insert(p.name);
  for (const Node& node : graph.nodes) {
    const auto has = [&](const char* suffix) { return given.contains(node.name + suffix); };
    if (!std::holds_alternative<BatchNorm>(node.op) || has(".weight") || has(".bias") || has(".running_mean") ||
        has(".running_var"))
      continue;
    const std::string name = graph.nodes[node.inputs[0]].name + ".bias";
    const auto bias = given.find(name);
    if (bias == given.end()) continue;
    const std::vector<int64_t> shape = bias->second.shape;
    given[node.name + ".bias"] = Tensor(shape, 0);
    if (!wanted.contains(name)) std::swap(given[node.name + ".bias"], given.extract(bias).mapped());
    given[node.name + ".weight"] = Tensor(shape, 1);
    given[node.name + ".running_mean"] = Tensor(shape, 0);
    given[node.name + ".running_var"] = Tensor(shape, static_cast<float>(1 - std::get<BatchNorm>(node.op).eps));
  }
}

// A batch norm takes its mean off what comes in, and so it takes the convolution's bias off again in training, whatever
// it is; with running statistics it belongs to the mean.
void move_biases_to_means(const Graph& graph, Tensors& given, const std::string& path) {
  std::set<std::string> wanted;
  for (const Parameter& p : parameters(graph)) wanted.insert(p.name);
  for (const Node& node : graph.nodes) {
    if (!std::holds_alternative<BatchNorm>(node.op)) continue;
    const auto mean = given.find(node.name + ".running_mean"),
               bias = given.find(graph.nodes[node.inputs[0]].name + ".bias");
    if (mean == given.end() || bias == given.end() || wanted.contains(bias->first)) continue;
    PLEAT_CHECK_FILE(mean->second.shape == bias->second.shape, path, "tensor ", bias->first, " has shape ",
                     to_string(bias->second.shape), ", but the batch norm behind it ", to_string(mean->second.shape));
    for (std::size_t c = 0; c < bias->second.values.size(); ++c) mean->second.values[c] -= bias->second.values[c];
    given.erase(bias);
  }
}

class StateDictLoader {
 public:
  StateDictLoader(Model& model, StateDict& state, const std::string& path, const std::string& model_name)
      : model_(model), state_(state), path_(path), model_name_(model_name) {}

  LoadedStateDict load(const std::vector<std::string>& ignore) {
    LoadedStateDict loaded;
    int found = 0, alphas_found = 0;
    std::vector<std::string> missing, missing_alphas;
    for (const Parameter& p : parameters(model_.graph)) {
      const auto type = state_.types.find(p.name);
      PLEAT_CHECK_FILE(type == state_.types.end(), path_, "tensor ", file_name(p.name), " is of type ", type->second,
                       ", expected F32, F64, F16, BF16 or I64");
      auto entry = state_.tensors.extract(p.name);
      if (!entry.empty()) {
        take(p, std::move(entry.mapped()));
        (p.role == Role::alpha ? alphas_found : found) += 1;
      } else if (p.role == Role::alpha) {
        model_.tensors[p.name] = Tensor(p.shape, 0);
        missing_alphas.push_back(p.name);
      } else {
        missing.push_back(p.name);
      }
    }
    loaded.has_alphas = alphas_found > 0;
    std::vector<std::string> unknown;
    for (const auto& [name, tensor] : state_.tensors) {
      const std::string& own = state_.names.at(name);
      const bool is_ignored = std::any_of(ignore.begin(), ignore.end(), [&](const std::string& pattern) {
        return fnmatch(pattern.c_str(), own.c_str(), 0) == 0;
      });
      (is_ignored ? loaded.unused : unknown).push_back(own);
    }
    for (const auto& [name, type] : state_.types) loaded.unused.push_back(state_.names.at(name));
    PLEAT_CHECK_FILE(found > 0, path_, "none of its ", unknown.size() + loaded.unused.size(), " tensors is one of ",
                     model_name_, "'s: it has ", first_few(unknown), "\nhint: see `pleat inspect ", model_name_,
                     "` for the names, and --prefix and --rename to change the file's");
    PLEAT_CHECK_FILE(missing.empty(), path_, missing.size(), " tensors that ", model_name_,
                     " needs are missing: ", first_few(missing),
                     unknown.empty() ? "" : concat("; ", unknown.size(), " are unused: ", first_few(unknown)),
                     "\nhint: is --model right? See `pleat inspect ", model_name_, "`, and --rename");
    PLEAT_CHECK_FILE(missing_alphas.empty() || !loaded.has_alphas, path_, "has only ", alphas_found, " of ",
                     model_name_, "'s ", alphas_found + missing_alphas.size(), " alphas: ", first_few(missing_alphas),
                     " are missing");
    PLEAT_CHECK_FILE(unknown.empty(), path_, unknown.size(), " tensors are no part of ", model_name_, ": ",
                     first_few(unknown), "\nhint: --ignore PATTERN leaves out what the network does not need");
    return loaded;
  }

 private:
  // A parameter's name, and the file's if it is another.
  std::string file_name(const std::string& name) const {
    const auto own = state_.names.find(name);
    return own == state_.names.end() || own->second == name ? name : concat(own->second, " (", name, ')');
  }

  void take(const Parameter& p, Tensor tensor) {
    if (p.role == Role::alpha && tensor.values.size() == 1) tensor.shape = p.shape;
    PLEAT_CHECK_FILE(tensor.shape == p.shape, path_, "tensor ", file_name(p.name), " has shape ",
                     to_string(tensor.shape), ", but ", model_name_, " needs ", to_string(p.shape),
                     classes_hint(p, tensor));
    const std::string fault = value_fault(p.role, tensor.values);
    PLEAT_CHECK_FILE(fault.empty(), path_, "tensor ", file_name(p.name), fault);
    const float first = tensor.values[0];
    PLEAT_CHECK_FILE(p.role != Role::alpha || (first >= 0 && first <= 1), path_, "tensor ", file_name(p.name), " is ",
                     first,
                     ", expected 0 to 1 of a folding alpha\nhint: is it a clipping bound of a quantised network? "
                     "Pleat has no such networks");
    model_.tensors[p.name] = std::move(tensor);
  }

  // For the last layer's of a network with another number of classes.
  std::string classes_hint(const Parameter& p, const Tensor& tensor) const {
    const bool is_head =
        p.node == model_.graph.output() && std::holds_alternative<Linear>(model_.graph.nodes[p.node].op);
    if (!is_head || tensor.shape.size() != p.shape.size() ||
        !std::equal(p.shape.begin() + 1, p.shape.end(), tensor.shape.begin() + 1))
      return "";
    return concat("\nhint: the file's network tells ", tensor.shape[0], " classes: --classes ", tensor.shape[0]);
  }

  Model& model_;
  StateDict& state_;
  const std::string &path_, &model_name_;
};

}  // namespace

LoadedStateDict load_state_dict(Model& model, StateDict& state, const std::string& path, const std::string& model_name,
                                const std::vector<std::string>& ignore) {
  unfold_batch_norms(model.graph, state.tensors);
  move_biases_to_means(model.graph, state.tensors, path);
  return StateDictLoader(model, state, path, model_name).load(ignore);
}

}  // namespace pleat
