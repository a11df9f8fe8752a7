use super::{
    RedisStore,
    keys::{cell_at, field, place},
    script,
    store::{bytes, decode, encode, word},
};
use fleetscan_proto::{
    AccountId, Begin, Begun, Cell, CellProgress, Completion, LedgerLine, Outcome, PendingCell, ScanAccountState,
    ScanId, StoreError,
};
use jiff::Timestamp;
use redis::Cmd;
use std::collections::BTreeMap;

/// Cells that are closed at a time, and accounts whose ledger is read at a time.
const CHUNK: usize = 256;
/// Rounds through the pending cells while others change them, before it is called a fault.
const ROUNDS: usize = 100_000;

impl RedisStore {
    pub(super) async fn cells_plan(
        &self,
        scan: &ScanId,
        account: &AccountId,
        cells: &[Cell],
    ) -> Result<(), StoreError> {
        let keys = self.keys.scan(scan);
        let keys = [
            keys.row(),
            keys.accounts(ScanAccountState::Probed),
            keys.accounts(ScanAccountState::Planned),
            keys.cells(account),
            keys.pending(),
            keys.counts(),
        ];
        let mut arguments = vec![bytes(account)];
        arguments.extend(cells.iter().map(|cell| bytes(field(cell))));
        self.link.run::<Option<u64>>(&script::PLAN, &keys, &arguments).await.map(drop)
    }

    pub(super) async fn cell_begin(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        worker: &str,
        at: Timestamp,
    ) -> Result<Begin, StoreError> {
        let keys = self.keys.scan(scan);
        let begun = encode(&Begun { worker: worker.to_owned(), at })?;
        let (shared, key) = ([keys.row(), keys.denials()], keys.cells(&cell.account));
        let arguments = [bytes(field(cell)), bytes(generation), begun, bytes(&cell.account)];
        let answer: Option<Vec<u8>> = self.link.enter(&script::BEGIN, &shared, &key, &arguments).await?;
        match answer.as_deref().unwrap_or_default() {
            b"done" => Ok(Begin::Done),
            b"denied" => Ok(Begin::Denied),
            answer => answer.strip_prefix(b"go ").map_or(Ok(Begin::Stale), go_on),
        }
    }

    pub(super) async fn cell_checkpoint(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        progress: &CellProgress,
    ) -> Result<Option<u64>, StoreError> {
        let keys = self.keys.scan(scan);
        let keys = [keys.row(), keys.cells(&cell.account)];
        let arguments = [bytes(field(cell)), bytes(generation), encode(progress)?];
        let renewed: Option<u64> = self.link.run(&script::CHECKPOINT, &keys, &arguments).await?;
        Ok(renewed.filter(|generation| *generation > 0))
    }

    pub(super) async fn cell_renew(
        &self,
        scan: &ScanId,
        cell: &Cell,
        generation: u64,
        attempts: Option<u32>,
    ) -> Result<Option<u64>, StoreError> {
        let keys = self.keys.scan(scan);
        let keys = [keys.row(), keys.cells(&cell.account)];
        let attempts = attempts.map_or_else(String::new, |attempts| attempts.to_string());
        let arguments = [bytes(field(cell)), bytes(generation), bytes(attempts)];
        let renewed: Option<u64> = self.link.run(&script::RENEW_CELL, &keys, &arguments).await?;
        Ok(renewed.filter(|generation| *generation > 0))
    }

    pub(super) async fn cell_complete(
        &self,
        scan: &ScanId,
        generation: u64,
        line: &LedgerLine,
    ) -> Result<Completion, StoreError> {
        let keys = self.keys.scan(scan);
        let (shared, key) = ([keys.pending(), keys.counts()], keys.cells(&line.cell.account));
        let totals = &line.totals;
        let arguments = [
            bytes(field(&line.cell)),
            bytes(generation),
            bytes(place(&line.cell)),
            bytes(line.outcome.as_str()),
            encode(line)?,
            bytes(totals.calls),
            bytes(totals.throttled),
            bytes(totals.records),
            bytes(totals.seconds),
        ];
        let answer: Option<String> = self.link.enter(&script::COMPLETE, &shared, &key, &arguments).await?;
        Ok(match answer.as_deref() {
            Some("first") => Completion::First,
            Some("duplicate") => Completion::Duplicate,
            _ => Completion::Stale,
        })
    }

    /// Closes page by page, each cell under the generation that was read: one that moved on meanwhile is met again.
    pub(super) async fn cells_close(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        outcome: Outcome,
        reason: &str,
    ) -> Result<u64, StoreError> {
        let mut closed = 0;
        for _ in 0..ROUNDS {
            let page = self.cells_pending(scan, account, None, CHUNK).await?;
            if page.is_empty() {
                return Ok(closed);
            }
            for pending in page {
                let progress = self.progress_of(scan, &pending.cell).await?;
                let line = LedgerLine {
                    cell: pending.cell,
                    outcome,
                    totals: progress.totals,
                    denied: progress.denied,
                    error: (!reason.is_empty()).then(|| reason.to_owned()),
                    started_at: progress.started_at,
                    attempts: pending.attempts,
                    worker: "coordinator".into(),
                    parts: progress.parts,
                    catalogue: progress.catalogue,
                };
                if self.cell_complete(scan, pending.generation, &line).await? == Completion::First {
                    closed += 1;
                }
            }
        }
        Err(StoreError::Away("cells change faster than they can be closed".into()))
    }

    async fn progress_of(&self, scan: &ScanId, cell: &Cell) -> Result<CellProgress, StoreError> {
        let key = self.keys.scan(scan).cells(&cell.account);
        let text: Option<Vec<u8>> = self.link.command(Cmd::hget(key, format!("{}|p", field(cell)))).await?;
        text.map_or_else(|| Ok(CellProgress::default()), |text| decode(&text))
    }

    pub(super) async fn cells_amend(
        &self,
        scan: &ScanId,
        account: &AccountId,
        from: Outcome,
        to: Outcome,
    ) -> Result<u64, StoreError> {
        let keys = self.keys.scan(scan);
        let keys = [keys.row(), keys.cells(account), keys.counts()];
        let mut amended = 0;
        for mut line in self.lines_of(scan, account).await?.into_iter().filter(|line| line.outcome == from) {
            line.outcome = to;
            let arguments = [bytes(field(&line.cell)), bytes(from.as_str()), bytes(to.as_str()), encode(&line)?];
            amended += self.link.run::<Option<u64>>(&script::AMEND, &keys, &arguments).await?.unwrap_or_default();
        }
        Ok(amended)
    }

    /// The line that a cell ended with, as it is written, if it is this one: another program may have written the same in
    /// other words.
    async fn written_line(&self, scan: &ScanId, line: &LedgerLine) -> Result<Option<Vec<u8>>, StoreError> {
        let key = self.keys.scan(scan).cells(&line.cell.account);
        let text: Option<Vec<u8>> = self.link.command(Cmd::hget(key, format!("{}|l", field(&line.cell)))).await?;
        let Some(text) = text else { return Ok(None) };
        Ok((decode::<LedgerLine>(&text)? == *line).then_some(text))
    }

    pub(super) async fn cell_reopen(&self, scan: &ScanId, line: &LedgerLine, most: u32) -> Result<bool, StoreError> {
        // Where it has no such line, it is pending or has another: the script tells which.
        let text = self.written_line(scan, line).await?.unwrap_or_default();
        let keys = self.keys.scan(scan);
        let keys = [keys.row(), keys.cells(&line.cell.account), keys.pending(), keys.counts()];
        let totals = &line.totals;
        let arguments = [
            bytes(field(&line.cell)),
            text,
            bytes(place(&line.cell)),
            encode(&CellProgress::anew(line))?,
            bytes(most),
            bytes(line.outcome.as_str()),
            bytes(totals.calls),
            bytes(totals.throttled),
            bytes(totals.records),
            bytes(totals.seconds),
        ];
        Ok(self.link.run::<Option<u64>>(&script::REOPEN_CELL, &keys, &arguments).await? == Some(1))
    }

    pub(super) async fn cell_replace(
        &self,
        scan: &ScanId,
        line: &LedgerLine,
        by: &LedgerLine,
    ) -> Result<bool, StoreError> {
        if by.cell != line.cell {
            return Ok(false);
        }
        let text = self.written_line(scan, line).await?.unwrap_or_default();
        let keys = self.keys.scan(scan);
        let keys = [keys.row(), keys.cells(&line.cell.account), keys.counts()];
        let (old, new) = (&line.totals, &by.totals);
        let more = |new: u64, old: u64| bytes(i128::from(new) - i128::from(old));
        let arguments = [
            bytes(field(&line.cell)),
            text,
            bytes(line.outcome.as_str()),
            encode(by)?,
            bytes(by.outcome.as_str()),
            more(new.calls, old.calls),
            more(new.throttled, old.throttled),
            more(new.records, old.records),
            bytes(new.seconds - old.seconds),
        ];
        Ok(self.link.run::<Option<u64>>(&script::REPLACE_LINE, &keys, &arguments).await? == Some(1))
    }

    pub(super) async fn cells_pending(
        &self,
        scan: &ScanId,
        account: Option<&AccountId>,
        after: Option<&Cell>,
        limit: usize,
    ) -> Result<Vec<PendingCell>, StoreError> {
        let keys = self.keys.scan(scan);
        // Behind every place of the account stands its id and the character after the space.
        let (first, end) = match account {
            None => ("-".to_owned(), "+".to_owned()),
            Some(account) => (format!("[{account} "), format!("({account}!")),
        };
        let from = match (after.map(place), account) {
            (Some(after), Some(account)) if after < format!("{account} ") => first,
            (Some(after), _) => format!("({after}"),
            (None, _) => first,
        };
        let mut page = redis::cmd("ZRANGEBYLEX");
        page.arg(keys.pending()).arg(from).arg(end).arg("LIMIT").arg(0).arg(i64::try_from(limit).unwrap_or(i64::MAX));
        let places: Vec<String> = self.link.command(page).await?;
        let cells: Vec<Cell> = places.iter().filter_map(|place| cell_at(place)).collect();
        let gets = cells.iter().map(|cell| {
            let field = field(cell);
            let mut get = redis::cmd("HMGET");
            get.arg(keys.cells(&cell.account));
            for what in ["g", "a", "t", "b", "o"] {
                get.arg(format!("{field}|{what}"));
            }
            get
        });
        let rows: Vec<Vec<Option<String>>> = self.link.commands(gets.collect()).await?;
        let mut pending = Vec::with_capacity(cells.len());
        for (cell, row) in cells.into_iter().zip(rows) {
            let [Some(generation), attempts, unfinished, begun, None] = row.as_slice() else { continue };
            let number = |text: &Option<String>| text.as_deref().and_then(|t| t.parse().ok()).unwrap_or_default();
            pending.push(PendingCell {
                cell,
                generation: generation.parse().unwrap_or_default(),
                attempts: number(attempts),
                unfinished: number(unfinished),
                begun: begun.as_ref().map(|text| decode(text.as_bytes())).transpose()?,
            });
        }
        Ok(pending)
    }

    /// The ledger lines of an account, in their order.
    pub(super) async fn lines_of(&self, scan: &ScanId, account: &AccountId) -> Result<Vec<LedgerLine>, StoreError> {
        let fields: BTreeMap<String, Vec<u8>> =
            self.link.command(Cmd::hgetall(self.keys.scan(scan).cells(account))).await?;
        let lines = fields.iter().filter(|(field, _)| field.ends_with("|l"));
        let mut lines: Vec<LedgerLine> = lines.map(|(_, text)| decode(text)).collect::<Result<_, _>>()?;
        lines.sort_by(|a, b| a.cell.cmp(&b.cell));
        Ok(lines)
    }

    pub(super) async fn ledger_page(
        &self,
        scan: &ScanId,
        after: Option<&Cell>,
        limit: usize,
    ) -> Result<Vec<LedgerLine>, StoreError> {
        let mut page = Vec::new();
        if limit == 0 {
            return Ok(page);
        }
        if let Some(after) = after {
            let lines = self.lines_of(scan, &after.account).await?;
            page.extend(lines.into_iter().filter(|line| line.cell > *after));
        }
        let planned = self.keys.scan(scan).accounts(ScanAccountState::Planned);
        let mut account = after.map(|cell| cell.account.clone());
        while page.len() < limit {
            // Few at a time: an account may have hundreds of lines.
            let ids = self.page(planned.clone(), account.as_ref().map(AccountId::as_str), 8).await?;
            let Some(last) = ids.last() else { break };
            account = Some(word(last)?);
            for id in &ids {
                page.extend(self.lines_of(scan, &word(id)?).await?);
                if page.len() >= limit {
                    break;
                }
            }
        }
        page.truncate(limit);
        Ok(page)
    }
}

/// `attempts unfinished progress`, as `begin.lua` answers them; an empty progress is that of a cell that never had any.
fn go_on(answer: &[u8]) -> Result<Begin, StoreError> {
    let mut parts = answer.splitn(3, |byte| *byte == b' ');
    let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
    let numbers = (number(), number());
    let ((Some(attempts), Some(unfinished)), Some(progress)) = (numbers, parts.next()) else {
        return Err(StoreError::Refused("the store's word on a cell cannot be read".into()));
    };
    let progress = if progress.is_empty() { CellProgress::default() } else { decode(progress)? };
    Ok(Begin::Go { progress: Box::new(progress), attempts, unfinished })
}
