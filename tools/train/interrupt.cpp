#include "tools/train/interrupt.hpp"

#include <csignal>

namespace pleat {
namespace {

volatile std::sig_atomic_t seen = 0;

void on_signal(int) {
  seen = 1;
}

}  // namespace

void watch_for_interrupt() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction before = {};
  sigaction(SIGHUP, nullptr, &before);
  if (before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, nullptr);  // under nohup it goes on
}

bool interrupted() {
  return seen != 0;
}

}  // namespace pleat
