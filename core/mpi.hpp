// The door to MPI, which carries the messages of ranks that `mpirun` started. MPI's libraries differ from each other
// and most users have none, so what calls them is a library of its own, build/libpleat-openmpi.so or libpleat-mpich.so
// (tools/mpi/mpi_transport.cpp, built by `make mpi`), which is loaded only in a process that `mpirun` started.
#pragma once

#include "core/process_group.hpp"

namespace pleat {

/// The ranks that this process is one of: those that the environment's `mpirun` (Open MPI, MPICH or a relative of it)
/// started, or this process alone. Opened at the first call, for the rest of the process. Throws std::runtime_error if
/// it was started as one of several ranks, but the library for that MPI was not built or cannot be loaded.
ProcessGroup& world();

/// How many threads this rank can run at once without taking cores from other ranks on its machine: default_threads()
/// (core/cores.hpp), divided among the ranks that may use the same cores. All ranks must call it.
int default_threads_of_rank();

/// To be called when a process ends well: waits for the other ranks, and leaves them. Nothing in a group of one.
void leave_world();

}  // namespace pleat
