// The pictures on which `pleat fold --fit` runs networks.
#pragma once

#include <cstdint>
#include <string>

#include "core/model.hpp"
#include "fold/fit_groups.hpp"

namespace pleat {

/// A function that runs networks of `model`'s input on `pictures` pictures of `data` (load_unlabelled), or on all if
/// there are fewer. They are shuffled by `seed`, without augmentation, and the same in each call. Files that cannot be
/// read are passed over and counted on standard error. Throws as load_unlabelled does. The function throws
/// std::runtime_error if none can be read or most are of one colour, since these do not determine a convolution.
RunNetworks run_on_pictures(const Model& model, const std::string& data, int64_t pictures, uint64_t seed, bool quiet);

}  // namespace pleat
