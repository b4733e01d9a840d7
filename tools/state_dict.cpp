#include "tools/state_dict.hpp"

#include <algorithm>
#include <cstring>
#include <regex>
#include <set>
#include <vector>

#include "core/check.hpp"
#include "core/file.hpp"
#include "core/safetensors.hpp"

namespace pleat {
namespace {

// What matches `from` becomes `to`, in which $1 is the first group that matched. A '#' in it stands for the rank of the
// numbers matched among all such in the file, counted from `first`: blocks numbered within stages are so numbered
// through.
struct Rule {
  const char *from, *to;
  int first = 0;
};

// A code base whose networks have names of their own.
struct Source {
  const char* name;
  const char* models;  // The networks that it has, as Pleat calls them.
  const char* sign;    // A tensor by which it is told.
  const char* normalisation;
  std::vector<Rule> rules;
  Interpolation interpolation = Interpolation::bilinear;
  const char* alternative = "";
};

// Folding's authors call a module "alpha1" whose one parameter is "alpha".
const std::vector<Source> kSources = {
    {"the authors of layer folding",
     "resnet.*",
     R"(layer1\.0\.alpha1\.alpha)",
     "cifar10",
     {{R"((\.alpha\d*)\.alpha$)", "$1"}, {R"(^fc\.)", "linear."}, {R"(\.downsample\.)", ".shortcut."}}},
    {"akamaster/pytorch_resnet_cifar10", "resnet.*", R"(linear\.weight)", "imagenet", {}},
    {"chenyaofo/pytorch-cifar-models",
     "resnet.*",
     R"(fc\.weight)",
     "cifar10",
     {{R"(^fc\.)", "linear."}, {R"(\.downsample\.)", ".shortcut."}}},
    {"chenyaofo/pytorch-cifar-models", "vgg.*_bn|mobilenet_v2_.*_cifar", R"(features\.0(\.0)?\.weight)", "cifar10", {}},
    {"torchvision",
     "mobilenet_v2_.*",
     R"(features\.0\.0\.weight)",
     "imagenet",
     {},
     Interpolation::bilinear,
     "its second weights (IMAGENET1K_V2) are evaluated with --resize 232; weights from TensorFlow by these names need "
     "--padding same --eps 0.001 --normalisation tensorflow"},
    {"timm",
     "mobilenet_v2_.*",
     R"(conv_stem\.weight)",
     "imagenet",
     {{R"(^blocks\.(\d+)\.(\d+)\.)", "features.#.", 1},
      {R"(^features\.1\.conv_dw\.)", "features.1.conv.0.0."},
      {R"(^features\.1\.bn1\.)", "features.1.conv.0.1."},
      {R"(^features\.1\.conv_pw\.)", "features.1.conv.1."},
      {R"(^features\.1\.bn2\.)", "features.1.conv.2."},
      {R"(\.conv_pw\.)", ".conv.0.0."},
      {R"(\.bn1\.)", ".conv.0.1."},
      {R"(\.conv_dw\.)", ".conv.1.0."},
      {R"(\.bn2\.)", ".conv.1.1."},
      {R"(\.conv_pwl\.)", ".conv.2."},
      {R"(\.bn3\.)", ".conv.3."},
      {R"(^conv_stem\.)", "features.0.0."},
      {R"(^bn1\.)", "features.0.1."},
      {R"(^conv_head\.)", "features.18.0."},
      {R"(^bn2\.)", "features.18.1."},
      {R"(^classifier\.)", "classifier.1."}},
     Interpolation::bicubic,
     "timm's tf_mobilenetv2 has the same names and needs --padding same --eps 0.001 --normalisation tensorflow"},
    {"EfficientNet-PyTorch",
     "efficientnet_lite.",
     R"(_conv_stem\.weight)",
     "efficientnet-lite",
     {},
     Interpolation::bicubic},
    {"timm",
     "efficientnet_lite.",
     R"(conv_stem\.weight)",
     "tensorflow",
     {{R"(^blocks\.(\d+)\.(\d+)\.)", "_blocks.#."},
      {R"(^_blocks\.0\.bn1\.)", "_blocks.0._bn1."},
      {R"(^_blocks\.0\.conv_pw\.)", "_blocks.0._project_conv."},
      {R"(^_blocks\.0\.bn2\.)", "_blocks.0._bn2."},
      {R"(\.conv_pw\.)", "._expand_conv."},
      {R"(\.bn1\.)", "._bn0."},
      {R"(\.conv_dw\.)", "._depthwise_conv."},
      {R"(\.bn2\.)", "._bn1."},
      {R"(\.conv_pwl\.)", "._project_conv."},
      {R"(\.bn3\.)", "._bn2."},
      {R"(^conv_stem\.)", "_conv_stem."},
      {R"(^bn1\.)", "_bn0."},
      {R"(^conv_head\.)", "_conv_head."},
      {R"(^bn2\.)", "_bn1."},
      {R"(^classifier\.)", "_fc."}},
     Interpolation::bicubic,
     "these are the settings of timm's tf_efficientnet_lite; its efficientnet_lite (without tf_) has the same names "
     "and "
     "needs --padding torch --eps 1e-5 --normalisation imagenet"},
};

// A name in the file and what has become of it.
struct Name {
  std::string file, now;
};

// The numbers that a match captured, longer ones greater: in their order, however long.
using Numbers = std::vector<std::pair<std::size_t, std::string>>;
Numbers numbers(const std::smatch& match) {
  Numbers all;
  for (std::size_t i = 1; i < match.size(); ++i) all.emplace_back(match.length(i), match.str(i));
  return all;
}

void apply_rule(const Rule& rule, std::vector<Name>& names) {
  const std::regex from(rule.from);
  std::smatch match;
  std::set<Numbers> ranks;
  for (const Name& name : names)
    if (std::regex_search(name.now, match, from)) ranks.insert(numbers(match));
  for (Name& name : names) {
    if (!std::regex_search(name.now, match, from)) continue;
    std::string to = match.format(rule.to);
    if (const std::size_t mark = to.find('#'); mark != std::string::npos)
      to.replace(mark, 1, std::to_string(rule.first + std::distance(ranks.begin(), ranks.find(numbers(match)))));
    name.now = match.prefix().str() + to + match.suffix().str();
  }
}

const Source* find_source(const std::string& model, const std::vector<Name>& names) {
  for (const Source& source : kSources)
    if (std::regex_match(model, std::regex(source.models)) &&
        std::any_of(names.begin(), names.end(),
                    [sign = std::regex(source.sign)](const Name& n) { return std::regex_match(n.now, sign); }))
      return &source;
  return nullptr;
}

std::vector<std::string> parts_of(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) c == '.' ? void(parts.emplace_back()) : parts.back().push_back(c);
  return parts;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string name;
  for (const std::string& part : parts) name += (name.empty() ? "" : ".") + part;
  return name;
}

// Replaces consecutive parts of a name; whether there were any.
bool rename(std::string& name, const std::vector<std::string>& from, const std::vector<std::string>& to) {
  std::vector<std::string> parts = parts_of(name);
  const auto found = std::search(parts.begin(), parts.end(), from.begin(), from.end());
  if (found == parts.end()) return false;
  const auto at = parts.erase(found, found + static_cast<std::ptrdiff_t>(from.size()));
  parts.insert(at, to.begin(), to.end());
  name = joined(parts);
  return true;
}

void apply_renames(const std::string& path, const NameOptions& options, std::vector<Name>& names) {
  for (const auto& [from, to] : options.renames) {
    const std::vector<std::string> parts = parts_of(from),
                                   become = to.empty() ? std::vector<std::string>{} : parts_of(to);
    int64_t renamed = 0;
    for (Name& name : names) renamed += rename(name.now, parts, become);
    PLEAT_CHECK_FILE(renamed > 0, path, "--rename ", from, "=", to, ": no tensor has '", from, "' in its name");
  }
  // What nn.DataParallel and torch.compile put into names.
  for (Name& name : names)
    for (const char* wrapper : {"module", "_orig_mod"})
      while (rename(name.now, {wrapper}, {})) continue;
}

// PyTorch's step counters, averages of the weights beside them, the optimiser's state: no part of a network.
bool is_copy(const std::string& name) {
  const std::vector<std::string> parts = parts_of(name);
  const auto is_one_of = [](const std::string& part, std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), part) != names.end();
  };
  return is_one_of(parts.front(), {"ema", "ema_model", "model_ema", "state_dict_ema", "shadow", "optimizer", "optim",
                                   "lr_scheduler", "scheduler", "scaler"}) ||
         is_one_of(parts.back(), {"num_batches_tracked", "n_averaged", "momentum_buffer", "exp_avg", "exp_avg_sq"}) ||
         (parts.size() == 1 &&
          is_one_of(name, {"step", "global_step", "epoch", "iteration", "best_acc", "best_acc1", "best_prec1", "lr"}));
}

// The names below `prefix` as Pleat calls them; others stay as they are where there are no parameters below it.
struct Reading {
  std::string prefix;
  std::vector<Name> names;
  const Source* source = nullptr;
  std::size_t fits = 0;  // parameters found
};

Reading read_below(const std::string& prefix, const std::string& model, std::vector<Name> names,
                   const std::set<std::string>& needed) {
  for (Name& name : names)
    if (name.now.starts_with(prefix)) name.now = name.now.substr(prefix.size());
  Reading reading{prefix, std::move(names), nullptr, 0};
  reading.source = find_source(model, reading.names);
  if (reading.source != nullptr)
    for (const Rule& rule : reading.source->rules) apply_rule(rule, reading.names);
  std::set<std::string> found;
  for (const Name& name : reading.names)
    if (needed.contains(name.now)) found.insert(name.now);
  reading.fits = found.size();
  return reading;
}

// Everything that stands before a dot in a quarter as many names as there are parameters, or more: a checkpoint whose
// batch norms are folded has 2 tensors where there are 5 parameters.
std::vector<std::string> possible_prefixes(const std::vector<Name>& names, std::size_t needed) {
  std::map<std::string, std::size_t> counts{{"", names.size()}};
  for (const Name& name : names)
    for (std::size_t dot = name.now.find('.'); dot != std::string::npos; dot = name.now.find('.', dot + 1))
      ++counts[name.now.substr(0, dot + 1)];
  std::vector<std::string> prefixes;
  for (const auto& [prefix, count] : counts)
    if (prefix.empty() || 4 * count >= needed) prefixes.push_back(prefix);
  return prefixes;
}

// The reading of which most fits the network. Two that fit as well are two networks in one file; averages of the
// weights count only where there is nothing else.
Reading best_reading(const std::string& path, const std::string& model, const std::vector<Name>& names,
                     const std::vector<std::string>& needed) {
  const std::set<std::string> parameters(needed.begin(), needed.end());
  std::vector<Reading> best;
  const auto rank = [](const Reading& r) { return std::pair(r.fits, !is_copy(r.prefix + "weight")); };
  for (const std::string& prefix : possible_prefixes(names, needed.size())) {
    Reading reading = read_below(prefix, model, names, parameters);
    if (!best.empty() && rank(reading) < rank(best[0])) continue;
    if (!best.empty() && rank(reading) > rank(best[0])) best.clear();
    best.push_back(std::move(reading));
  }
  if (10 * best[0].fits < needed.size()) return read_below("", model, names, parameters);
  if (best.size() > 1 && !best[0].prefix.empty())
    throw std::runtime_error(concat(path, ": holds more than one ", model, ", below '", best[0].prefix, "' and '",
                                    best[1].prefix, "'\nhint: --prefix ", best[0].prefix, " takes the first"));
  return std::move(best[0]);
}

// Other programs' files that are often tried.
void check_kind(const std::string& path, std::span<const std::byte> bytes) {
  const auto begins = [&](std::string_view with) {
    return bytes.size() >= with.size() && std::memcmp(bytes.data(), with.data(), with.size()) == 0;
  };
  constexpr std::string_view kPickle("\x80\x02", 2);
  PLEAT_CHECK_FILE(!begins("PK\x03\x04") && !begins(kPickle), path,
                   "is a PyTorch checkpoint, expected a safetensors file\nhint: python3 tools/torch_to_safetensors.py ",
                   path, " state.safetensors makes one, where PyTorch is");
}

}  // namespace

StateDict read_state_dict(const std::string& path, const std::string& model, const std::vector<std::string>& needed,
                          const NameOptions& options) {
  StateDict result;
  std::map<std::string, std::string> types;
  check_kind(path, read_file(path, 4));
  const std::vector<std::byte> bytes = read_safetensors(path);
  Tensors given = parse_safetensors(bytes, path, &types).tensors;
  std::vector<Name> names;
  for (const auto& [name, tensor] : given) names.push_back({name, name});
  for (const auto& [name, type] : types) names.push_back({name, name});
  apply_renames(path, options, names);
  std::string prefix = options.prefix;
  if (!prefix.empty() && !prefix.ends_with('.')) prefix += '.';
  if (!prefix.empty()) {
    std::erase_if(names, [&](const Name& name) { return !name.now.starts_with(prefix); });
    PLEAT_CHECK_FILE(!names.empty(), path, "--prefix ", options.prefix, ": no tensor's name begins with it");
  }
  const Reading reading = prefix.empty() ? best_reading(path, model, names, needed)
                                         : read_below(prefix, model, names, {needed.begin(), needed.end()});
  result.prefix = reading.prefix;
  if (const Source* const source = reading.source)
    result.source = {source->name, source->normalisation, source->interpolation, source->alternative};
  const std::set<std::string> parameters(needed.begin(), needed.end());
  for (const Name& name : reading.names) {
    if (!parameters.contains(name.now) && !types.contains(name.file) && is_copy(name.now)) {
      result.copies.push_back(name.file);
      continue;
    }
    const auto [twin, fresh] = result.names.emplace(name.now, name.file);
    PLEAT_CHECK_FILE(fresh, path, "tensors '", twin->second, "' and '", name.file, "' are both ", name.now);
    if (types.contains(name.file))
      result.types[name.now] = types.at(name.file);
    else
      result.tensors[name.now] = std::move(given.at(name.file));
  }
  return result;
}

}  // namespace pleat
