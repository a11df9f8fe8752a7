use fleetscan_proto::Opened;
use std::{fs::File, io, os::unix::fs::FileExt as _};

/// A file on this machine. Where it is replaced, or has no name any more, this one stays what it was.
pub(super) struct OpenedFile(pub(super) File);

impl Opened for OpenedFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }
}
