#include "tools/train/fade.hpp"

#include <algorithm>
#include <cmath>

#include "core/check.hpp"
#include "fold/mask.hpp"

namespace pleat {

Fade::Fade(Model& model, const std::vector<std::string>& names, int64_t steps) : steps_(steps) {
  const std::vector<Foldable> known = foldable_activations(model);
  for (const std::string& name : names) {
    const bool found = std::ranges::any_of(known, [&](const Foldable& f) { return f.alpha == name; });
    PLEAT_CHECK(found, "fade: the model has no alpha '", name, "'");
    float& value = model.tensors.at(name).values[0];
    alphas_.push_back({&value, value});
  }
}

void Fade::apply(int64_t step) {
  const bool over = step + 1 >= steps_;
  for (const Alpha& alpha : alphas_)
    *alpha.value = over ? 1 : std::lerp(alpha.start, 1.0f, static_cast<float>(step + 1) / static_cast<float>(steps_));
}

}  // namespace pleat
