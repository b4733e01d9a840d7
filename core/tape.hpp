// What a network does, step by step: recorded once, replayed forward and walked backward at every training step.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace pleat {

/// One recorded operation: how to run it forward and backward (empty: nothing to do), under its node's name and kind.
struct Step {
  std::string name = {}, kind = {};
  std::function<void()> forward = {}, backward = {};
};

class Tape {
 public:
  void record(Step step) { steps_.push_back(std::move(step)); }
  const std::vector<Step>& steps() const { return steps_; }

  void forward() const {
    for (const Step& step : steps_)
      if (step.forward) step.forward();
  }
  void backward() const {
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step)
      if (step->backward) step->backward();
  }

 private:
  std::vector<Step> steps_;
};

}  // namespace pleat
