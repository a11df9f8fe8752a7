use super::Problem;
use std::{collections::BTreeSet, sync::Arc};

/// Mistakes by the byte they stand at, until all are known.
pub(super) struct Findings<'a> {
    name: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
    pub(super) errors: Vec<(usize, String)>,
    pub(super) warnings: Vec<(usize, String)>,
    /// Where lines start on which the TOML breaks.
    pub(super) broken_lines: BTreeSet<usize>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Self {
        let line_starts = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, line_starts, errors: vec![], warnings: vec![], broken_lines: BTreeSet::new() }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    /// Where the line of a byte starts.
    pub(super) fn line_start(&self, at: usize) -> usize {
        self.line_starts[self.line(at) - 1]
    }

    /// Errors and warnings, each in the order of the file.
    pub(super) fn placed(mut self) -> (Vec<Problem>, Vec<Problem>) {
        let (errors, warnings) = (std::mem::take(&mut self.errors), std::mem::take(&mut self.warnings));
        (self.place(errors), self.place(warnings))
    }

    /// One sweep over the text, for a file of ten thousand mistakes may be a single line.
    fn place(&self, mut found: Vec<(usize, String)>) -> Vec<Problem> {
        found.sort_by_key(|(at, _)| *at);
        let file: Arc<str> = self.name.into();
        let (mut line, mut column, mut swept) = (1, 1, 0);
        let mut placed = Vec::with_capacity(found.len());
        for (at, text) in found {
            let at = self.text.floor_char_boundary(at);
            let start = self.line_start(at);
            if start > swept {
                (line, column, swept) = (self.line(at), 1, start);
            }
            column += self.text[swept..at].chars().count();
            swept = at;
            placed.push(Problem { file: file.clone(), line, column, text });
        }
        placed
    }
}
