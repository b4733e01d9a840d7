// Ctrl-C for long work: the first asks for a clean stop, the second kills as usual.
#pragma once

namespace pleat {

/// Starts watching for SIGINT and SIGTERM.
void watch_for_interrupt();

/// True once one came.
bool interrupted();

}  // namespace pleat
