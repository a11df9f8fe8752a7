//! What keeps other programs of the machine out of a process that holds sessions and the key.

/// Forbids core dumps of this process, and its being traced: either would carry sessions and the key to a file or to
/// another program. Root may still look.
pub fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let dumps = setrlimit(Resource::Core, none);
        let traces = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        for error in [dumps.err(), traces.err()].into_iter().flatten() {
            tracing::warn!(%error, "memory.not_private: core dumps or tracing could not be forbidden");
        }
    }
}
