#include "tools/train/interrupt.hpp"

#include <csignal>
#include <initializer_list>

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
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(signal, &action, nullptr);  // nohup ignores SIGHUP
  }
}

bool interrupted() {
  return seen != 0;
}

}  // namespace pleat
