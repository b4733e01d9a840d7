// What the ranks behind the first do: the first runs the command that the user typed, and where it trains, the others
// take part. So only the first reads models, states and settings, asks for tuning, writes files and prints.
#pragma once

#include "core/model.hpp"
#include "tools/train/recipe.hpp"

namespace pleat {

/// For the first rank: tells the others to train `model` by `recipe`, which they begin at once. `teacher` may be null.
void send_training_job(const Recipe& recipe, const Model& model, const Model* teacher);

/// For the other ranks: does one job after another until the first rank has ended.
void work_for_first_rank();

/// For the first rank: lets the others end. To be called when the command has ended well.
void dismiss_ranks();

}  // namespace pleat
