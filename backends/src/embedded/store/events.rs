use super::{
    EmbeddedStore,
    fleet::keep_note,
    sql::{change, encode, json, limit_of, one, rows},
};
use async_trait::async_trait;
use fleetscan_proto::{EVENTS_KEPT, Event, EventTrail, NumberedEvent, StoreError};
use rusqlite::{Connection, params};

pub(super) fn append(c: &Connection, event: &Event) -> rusqlite::Result<()> {
    let known = one(c, "SELECT 1 FROM events WHERE id = ?1", [&event.id], |row| row.get::<_, i64>(0))?;
    if known.is_some() {
        return Ok(());
    }
    change(c, "INSERT INTO events (id, body) VALUES (?1, ?2)", params![event.id, encode(event)?])?;
    let made_room = "DELETE FROM events WHERE number <= (SELECT MAX(number) FROM events) - ?1";
    change(c, made_room, [i64::try_from(EVENTS_KEPT).unwrap_or(i64::MAX)]).map(drop)
}

fn events(c: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<NumberedEvent>> {
    rows(
        c,
        "SELECT number, body FROM events WHERE number > ?1 ORDER BY number LIMIT ?2",
        params![i64::try_from(after).unwrap_or(i64::MAX), limit_of(limit)],
        |row| Ok(NumberedEvent { number: row.get(0)?, event: json(row, 1)? }),
    )
}

#[async_trait]
impl EventTrail for EmbeddedStore {
    async fn append_event(&self, event: &Event, note: Option<(&str, &str)>) -> Result<(), StoreError> {
        let (event, note) = (event.clone(), note.map(|(name, text)| (name.to_owned(), text.to_owned())));
        self.writer
            .run(move |c| {
                append(c, &event)?;
                note.map_or(Ok(()), |(name, text)| keep_note(c, &name, Some(&text)))
            })
            .await
    }

    async fn events(&self, after: u64, limit: usize) -> Result<Vec<NumberedEvent>, StoreError> {
        self.reader.run(move |c| events(c, after, limit)).await
    }

    async fn newest_event(&self) -> Result<u64, StoreError> {
        let newest = |c: &Connection| one(c, "SELECT MAX(number) FROM events", [], |row| row.get::<_, Option<u64>>(0));
        Ok(self.reader.run(newest).await?.flatten().unwrap_or_default())
    }
}
