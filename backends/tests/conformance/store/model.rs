use super::{StoreFactory, account, at, part, planned_scan, probe};
use crate::conformance::cell;
use fleetscan_proto::{
    AccountId, Begin, Begun, Cell, CellProgress, Completion, LedgerLine, Outcome, PendingCell, ScanAccountState,
    ScanId, ScanState, Store, WorkTotals,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use std::collections::BTreeMap;

/// What the store must answer, in a few lines.
#[derive(Default)]
struct Model {
    cells: BTreeMap<Cell, ModelCell>,
}

#[derive(Default)]
struct ModelCell {
    generation: u64,
    attempts: u32,
    unfinished: u32,
    begun: Option<Begun>,
    progress: CellProgress,
    line: Option<LedgerLine>,
}

impl Model {
    fn pending(&mut self, cell: &Cell, generation: u64) -> Option<&mut ModelCell> {
        self.cells.get_mut(cell).filter(|c| c.line.is_none() && c.generation == generation)
    }
    fn begin(&mut self, cell: &Cell, generation: u64, begun: Begun) -> Begin {
        match self.cells.get_mut(cell) {
            Some(known) if known.line.is_some() => Begin::Done,
            Some(known) if known.generation == generation => {
                known.attempts += 1;
                known.unfinished += 1;
                known.begun = Some(begun);
                Begin::Go {
                    progress: Box::new(known.progress.clone()),
                    attempts: known.attempts,
                    unfinished: known.unfinished - 1,
                }
            }
            _ => Begin::Stale,
        }
    }
    fn renew(&mut self, cell: &Cell, generation: u64, progress: Option<&CellProgress>) -> Option<u64> {
        let known = self.pending(cell, generation)?;
        if let Some(progress) = progress {
            known.progress = progress.clone();
            known.unfinished = 0;
        }
        known.begun = None;
        known.generation += 1;
        Some(known.generation)
    }
    fn complete(&mut self, generation: u64, line: &LedgerLine) -> Completion {
        match self.cells.get_mut(&line.cell) {
            Some(known) if known.line.is_some() => Completion::Duplicate,
            Some(known) if known.generation == generation => {
                known.line = Some(line.clone());
                Completion::First
            }
            _ => Completion::Stale,
        }
    }
    fn amend(&mut self, account: &AccountId, from: Outcome, to: Outcome) -> u64 {
        let own = self.cells.values_mut().filter_map(|c| c.line.as_mut()).filter(|l| l.cell.account == *account);
        own.filter(|line| line.outcome == from).map(|line| line.outcome = to).count() as u64
    }
    /// What cancelling the scan and reopening it leaves; answers how many cells were cancelled, and the accounts that
    /// are probed anew, with their cells.
    fn reopen(&mut self) -> (u64, BTreeMap<AccountId, Vec<Cell>>) {
        let (mut cancelled, mut anew) = (0, BTreeMap::<AccountId, Vec<Cell>>::new());
        for (cell, known) in &mut self.cells {
            anew.entry(cell.account.clone()).or_default().push(cell.clone());
            if known.line.is_none() {
                cancelled += 1;
                (known.generation, known.unfinished, known.begun) = (known.generation + 1, 0, None);
            }
        }
        let untouched = |cell: &ModelCell| cell.line.is_none() && cell.progress == CellProgress::default();
        anew.retain(|_, cells| cells.iter().all(|cell| self.cells.get(cell).is_some_and(untouched)));
        for cell in anew.values().flatten() {
            self.cells.insert(cell.clone(), ModelCell { generation: 1, ..ModelCell::default() });
        }
        (cancelled, anew)
    }
    fn lines(&self) -> Vec<LedgerLine> {
        self.cells.values().filter_map(|c| c.line.clone()).collect()
    }
}

/// Dice that never make a number whose sum would be rounded.
struct Dice(StdRng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }
    fn of<T: Clone>(&mut self, things: &[T]) -> T {
        things.choose(&mut self.0).expect("not empty").clone()
    }
    fn totals(&mut self) -> WorkTotals {
        let seconds = f64::from(self.0.random_range(0..400_u32)) / 4.0;
        WorkTotals {
            calls: self.below(90) as u64,
            throttled: self.below(9) as u64,
            records: self.below(5_000) as u64,
            seconds,
        }
    }
    fn progress(&mut self) -> CellProgress {
        let parts = (0..self.below(3)).map(|n| part(&format!("part-{n}-0000.jsonl.zst"), 1)).collect();
        CellProgress { parts, totals: self.totals(), started_at: Some(at(90)), ..CellProgress::default() }
    }
    fn line(&mut self, cell: &Cell) -> LedgerLine {
        let outcome = self.of(&[Outcome::Complete, Outcome::Denied, Outcome::Partial, Outcome::Failed]);
        let totals = self.totals();
        LedgerLine { totals, worker: format!("worker-{}", self.below(99)), ..super::line(cell, outcome) }
    }
    /// As many as there were, or one fewer.
    fn attempts(&mut self, model: &Model, cell: &Cell) -> u32 {
        let present = model.cells.get(cell).map_or(0, |c| c.attempts);
        if self.below(2) == 0 { present } else { present.saturating_sub(1) }
    }
    /// Mostly the present generation, sometimes another.
    fn generation(&mut self, model: &Model, cell: &Cell) -> u64 {
        let present = model.cells.get(cell).map_or(1, |c| c.generation);
        match self.below(6) {
            0 => present.saturating_sub(1),
            1 => present + 1,
            _ => present,
        }
    }
}

pub async fn any_sequence_of_changes_agrees_with_the_model<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    for seed in 0..12 {
        let mut dice = Dice(StdRng::seed_from_u64(seed));
        let cells: Vec<Cell> =
            (1..=4).flat_map(|n| ["a", "b", "c", "d"].map(|service| cell(n, "eu-west-1", service))).collect();
        let scan = planned_scan(&store, usize::try_from(seed).expect("small"), &cells).await;
        let fresh = || ModelCell { generation: 1, ..ModelCell::default() };
        let mut model = Model { cells: cells.into_iter().map(|cell| (cell, fresh())).collect() };
        for step in 0..120 {
            change(&store, &scan, &mut model, &mut dice).await;
            if step % 40 == 39 {
                cancel_and_reopen(&store, &scan, &mut model).await;
            }
            if step % 8 == 7 {
                agree(&store, &scan, &model, &mut dice).await;
            }
        }
    }
}

/// Makes one change to both; their answers must be equal.
async fn change(store: &impl Store, scan: &ScanId, model: &mut Model, dice: &mut Dice) {
    let known: Vec<Cell> = model.cells.keys().cloned().collect();
    let cell = if dice.below(12) == 0 { cell(9, "eu-west-1", "a") } else { dice.of(&known) };
    let generation = dice.generation(model, &cell);
    match dice.below(20) {
        0..=6 => {
            let begun = Begun { worker: format!("worker-{}", dice.below(9)), at: at(95) };
            let answer = store.begin(scan, &cell, generation, &begun.worker, begun.at).await.expect("answers");
            assert_eq!(answer, model.begin(&cell, generation, begun));
        }
        7..=11 => {
            let progress = dice.progress();
            let answer = store.checkpoint(scan, &cell, generation, &progress).await.expect("answers");
            assert_eq!(answer, model.renew(&cell, generation, Some(&progress)));
        }
        12..=14 => {
            let attempts = (dice.below(2) == 0).then(|| dice.attempts(model, &cell));
            let answer = store.renew_cell(scan, &cell, generation, attempts).await.expect("answers");
            let begun_since = attempts.is_some_and(|seen| model.cells.get(&cell).is_some_and(|c| c.attempts != seen));
            assert_eq!(answer, if begun_since { None } else { model.renew(&cell, generation, None) });
        }
        15 | 16 => {
            let line = dice.line(&cell);
            let answer = store.complete(scan, generation, &line).await.expect("answers");
            assert_eq!(answer, model.complete(generation, &line));
        }
        17 | 18 => {
            let (from, to) =
                (dice.of(&[Outcome::Denied, Outcome::Failed]), dice.of(&[Outcome::Revoked, Outcome::Denied]));
            let answer = store.amend_cells(scan, &cell.account, from, to).await.expect("answers");
            assert_eq!(answer, model.amend(&cell.account, from, to));
        }
        _ => close(store, scan, model, dice).await,
    }
}

/// Closes an account. Who writes the lines is the store's own affair, so the model takes over the worker's name.
async fn close(store: &impl Store, scan: &ScanId, model: &mut Model, dice: &mut Dice) {
    if dice.below(3) > 0 {
        return;
    }
    let account = account(dice.below(5));
    let answer = store.close_cells(scan, Some(&account), Outcome::Unconfirmed, "why", at(99)).await.expect("answers");
    let ledger = store.ledger(scan, None, 1_000).await.expect("readable");
    let workers: BTreeMap<Cell, String> = ledger.into_iter().map(|line| (line.cell, line.worker)).collect();
    let mut closed = 0;
    for (cell, known) in &mut model.cells {
        if cell.account == account && known.line.is_none() {
            closed += 1;
            known.line = Some(LedgerLine {
                cell: cell.clone(),
                outcome: Outcome::Unconfirmed,
                totals: known.progress.totals.clone(),
                denied: Vec::new(),
                error: Some("why".into()),
                started_at: known.progress.started_at,
                attempts: known.attempts,
                worker: workers.get(cell).cloned().expect("a closed cell has its line"),
                parts: known.progress.parts.clone(),
                catalogue: known.progress.catalogue.clone(),
            });
        }
    }
    assert_eq!(answer, closed);
}

async fn cancel_and_reopen(store: &impl Store, scan: &ScanId, model: &mut Model) {
    for state in [ScanState::Cancelling, ScanState::Cancelled] {
        store.close_cells(scan, None, Outcome::Cancelled, "stopped", at(99)).await.expect("answers");
        store.end_scan(scan, state, at(99)).await.expect("ended");
    }
    let reopened = store.reopen_scan(scan).await.expect("answers");
    let (cancelled, anew) = model.reopen();
    assert_eq!(reopened, Some(cancelled));
    let waiting = store.scan_accounts(scan, ScanAccountState::Waiting, None, 100).await.expect("readable");
    assert!(waiting.iter().map(|row| &row.account).eq(anew.keys()), "{waiting:?}");
    for row in waiting {
        let recorded = store.record_probe(scan, &row.account, row.generation, Ok(probe())).await.expect("answers");
        assert!(recorded);
        store.plan_account(scan, &row.account, &anew[&row.account]).await.expect("planned");
    }
}

/// Compares everything that can be read.
async fn agree(store: &impl Store, scan: &ScanId, model: &Model, dice: &mut Dice) {
    let lines = model.lines();
    let after = lines.get(dice.below(20)).map(|line| line.cell.clone());
    let expected: Vec<_> =
        lines.iter().filter(|l| after.as_ref().is_none_or(|a| l.cell > *a)).take(7).cloned().collect();
    assert_eq!(store.ledger(scan, after.as_ref(), 7).await.expect("readable"), expected);
    assert_eq!(store.ledger(scan, None, 1_000).await.expect("readable"), lines);

    let waiting = model.cells.iter().filter(|(_, known)| known.line.is_none());
    let pending: Vec<_> = waiting
        .map(|(cell, known)| {
            let &ModelCell { generation, attempts, unfinished, .. } = known;
            PendingCell { cell: cell.clone(), generation, attempts, unfinished, begun: known.begun.clone() }
        })
        .collect();
    assert_eq!(store.pending_cells(scan, None, None, 1_000).await.expect("readable"), pending);
    let own: Vec<_> = pending.iter().filter(|p| p.cell.account == account(2)).cloned().collect();
    assert_eq!(store.pending_cells(scan, Some(&account(2)), None, 1_000).await.expect("readable"), own);

    let (mut outcomes, mut totals) = (BTreeMap::<Outcome, u64>::new(), WorkTotals::default());
    for line in &lines {
        *outcomes.entry(line.outcome).or_default() += 1;
        totals.add(&line.totals);
    }
    let counts = store.counts(scan).await.expect("readable");
    assert_eq!((counts.outcomes, counts.totals), (outcomes, totals));
    assert_eq!(counts.cells, model.cells.len() as u64);
}
