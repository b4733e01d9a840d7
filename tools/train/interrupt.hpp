// Ctrl-C during long work: the first asks for a clean stop, a second one kills the program as usual.
#pragma once

namespace pleat {

/// From now on SIGINT, SIGTERM and SIGHUP (a terminal that is closed) are noted, once each; SIGHUP not under nohup.
void watch_for_interrupt();

/// True once one of them came.
bool interrupted();

}  // namespace pleat
