// What programs in C++ that are built on pleat.h see of a handle besides.
#pragma once

#include "core/model.hpp"
#include "fold/engine/pleat.h"

namespace pleat {

/// The model behind a handle, without its weights. Lives as long as the handle.
const Model& model_of(const pleat_engine& engine);

}  // namespace pleat
