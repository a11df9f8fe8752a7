//! The C library's allocator, told to keep less.
//!
//! glibc makes a heap of its own for many a thread and hardly gives memory back, so that a long scan looks twice as
//! large as it is. It takes such advice from the environment alone, and before the process begins: so the process
//! begins once more, as itself (same id, same files), with the advice set.

use std::{ffi::OsStr, os::unix::process::CommandExt as _, process::Command};

/// What glibc is told: few heaps, large blocks apart from them, and what is free at a heap's end given back.
const ADVICE: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "1048576")];

/// Begins anew with the advice, unless somebody gave some already. Where that cannot be done, the process goes on as it
/// is: only larger.
pub fn advise() {
    if !cfg!(target_env = "gnu") || ADVICE.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut words = std::env::args_os();
    let name = words.next();
    let error =
        Command::new(program).arg0(name.as_deref().unwrap_or(OsStr::new("fleetscan"))).args(words).envs(ADVICE).exec();
    // Nothing is logging yet, and nothing is wrong: the file was replaced or removed in this moment.
    drop(error);
}
