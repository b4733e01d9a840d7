#include "tools/state_dict.hpp"

#include <algorithm>
#include <regex>
#include <set>
#include <vector>

#include "core/check.hpp"
#include "core/safetensors.hpp"

namespace pleat {
namespace {

// What matches `from` becomes `to`. A '#' in it stands for the rank of the numbers matched among all such in the file,
// counted from `first`: blocks numbered within stages are so numbered through.
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
};

// What wrappers put before every name (nn.DataParallel, torch.compile, saved training state).
constexpr Rule kWrappers = {R"(^((module|_orig_mod|state_dict|model)\.)+)", ""};

const std::vector<Source> kSources = {
    {"akamaster/pytorch_resnet_cifar10", "resnet.*", R"(linear\.weight)", "imagenet", {}},
    {"chenyaofo/pytorch-cifar-models",
     "resnet.*",
     R"(fc\.weight)",
     "cifar10",
     {{R"(^fc\.)", "linear."}, {R"(\.downsample\.)", ".shortcut."}}},
    {"chenyaofo/pytorch-cifar-models", "vgg.*_bn|mobilenet_v2_.*_cifar", R"(features\.0(\.0)?\.weight)", "cifar10", {}},
    {"torchvision", "mobilenet_v2_.*", R"(features\.0\.0\.weight)", "imagenet", {}},
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
      {R"(^classifier\.)", "classifier.1."}}},
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
     Interpolation::bicubic},
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

void apply(const Rule& rule, std::vector<Name>& names) {
  const std::regex from(rule.from);
  std::smatch match;
  std::set<Numbers> ranks;
  for (const Name& name : names)
    if (std::regex_search(name.now, match, from)) ranks.insert(numbers(match));
  for (Name& name : names) {
    if (!std::regex_search(name.now, match, from)) continue;
    std::string to = rule.to;
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

}  // namespace

StateDict read_state_dict(const std::string& path, const std::string& model) {
  Tensors given = load_safetensors(path).tensors;
  std::vector<Name> names;
  for (const auto& [name, tensor] : given)
    if (!name.ends_with("num_batches_tracked")) names.push_back({name, name});
  apply(kWrappers, names);
  StateDict result;
  if (const Source* const source = find_source(model, names)) {
    result.source = source->name;
    result.normalisation = source->normalisation;
    result.interpolation = source->interpolation;
    for (const Rule& rule : source->rules) apply(rule, names);
  }
  for (const Name& name : names) {
    const auto [twin, fresh] = result.names.emplace(name.now, name.file);
    PLEAT_CHECK_FILE(fresh, path, "tensors '", twin->second, "' and '", name.file, "' are both ", name.now);
    result.tensors[name.now] = std::move(given.at(name.file));
  }
  return result;
}

}  // namespace pleat
