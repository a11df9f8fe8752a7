use crate::LedgerReader;
use fleetscan_proto::{Cell, LedgerLine, SinkError};

/// Several scans' ledgers, read side by side: a line of each is held, not more.
pub struct Ledgers {
    sources: Vec<Source>,
}

struct Source {
    lines: LedgerReader,
    head: Option<LedgerLine>,
    last: Option<Cell>,
    begun: bool,
}

impl Ledgers {
    /// Ledgers in the order in which they are to be numbered.
    pub fn new(readers: Vec<LedgerReader>) -> Self {
        let source = |lines| Source { lines, head: None, last: None, begun: false };
        Self { sources: readers.into_iter().map(source).collect() }
    }

    /// The next cell in order: its line in each ledger that has it, with the ledger's number.
    ///
    /// # Errors
    /// When a ledger cannot be read, or its cells are not in order.
    pub fn next_cell(&mut self) -> Result<Option<Vec<(usize, LedgerLine)>>, SinkError> {
        for source in self.sources.iter_mut().filter(|source| !source.begun) {
            source.begun = true;
            source.advance()?;
        }
        let heads = self.sources.iter().filter_map(|source| source.head.as_ref());
        let Some(cell) = heads.map(|line| &line.cell).min().cloned() else { return Ok(None) };
        let mut lines = Vec::new();
        for (number, source) in self.sources.iter_mut().enumerate() {
            if source.head.as_ref().is_some_and(|line| line.cell == cell) {
                lines.extend(source.head.take().map(|line| (number, line)));
                source.advance()?;
            }
        }
        Ok(Some(lines))
    }
}

impl Source {
    fn advance(&mut self) -> Result<(), SinkError> {
        self.head = self.lines.next().transpose()?;
        if let Some(line) = &self.head {
            if self.last.as_ref().is_some_and(|last| *last >= line.cell) {
                return Err(SinkError::Damaged(format!("a ledger is not in order at {}", line.cell)));
            }
            self.last = Some(line.cell.clone());
        }
        Ok(())
    }
}
