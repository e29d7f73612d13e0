//! How does a specification become a process? Start, exec, cgroups, monitor.
