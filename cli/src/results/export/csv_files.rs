use super::{
    Target, file_name,
    table::{Column, Field, LEDGER, RECORDS},
};
use crate::failure::Failure;
use fleetscan_proto::Manifest;
use std::{collections::BTreeMap, fs::File, path::PathBuf};

/// A CSV file a type, and one of the ledger; lists and nested values are JSON.
pub struct CsvFiles {
    folder: PathBuf,
    files: BTreeMap<String, csv::Writer<File>>,
}

fn failed(error: csv::Error) -> Failure {
    Failure::failed(format!("the CSV file cannot be written: {error}"))
}

impl CsvFiles {
    pub fn create(folder: PathBuf) -> Self {
        Self { folder, files: BTreeMap::new() }
    }

    fn add(&mut self, name: &str, columns: &[Column], row: &[Field]) -> Result<(), Failure> {
        if !self.files.contains_key(name) {
            let mut writer = csv::Writer::from_writer(File::create_new(self.folder.join(format!("{name}.csv")))?);
            writer.write_record(columns.iter().map(|column| column.name)).map_err(failed)?;
            self.files.insert(name.to_owned(), writer);
        }
        let Some(writer) = self.files.get_mut(name) else { return Ok(()) };
        writer.write_record(row.iter().map(cell)).map_err(failed)
    }
}

/// A field as it is written. A text that a spreadsheet would take for a formula gets an apostrophe before it: names and
/// tags are written by whoever may make a resource, and opened by whoever reviews it (OWASP, "CSV Injection").
fn cell(field: &Field) -> String {
    match field {
        Field::Text(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) => format!("'{text}"),
        field => field.text().unwrap_or_default(),
    }
}

impl Target for CsvFiles {
    fn record(&mut self, kind: &str, row: Vec<Field>) -> Result<(), Failure> {
        self.add(&file_name(kind), RECORDS, &row)
    }

    fn ledger(&mut self, row: Vec<Field>) -> Result<(), Failure> {
        self.add(super::LEDGER_NAME, LEDGER, &row)
    }

    fn finish(self: Box<Self>, _manifest: &Manifest) -> Result<(), Failure> {
        for mut writer in self.files.into_values() {
            writer.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_strangers_are_no_formulas_and_come_back_as_they_are() {
        for hostile in ["=HYPERLINK(\"http://x\")", "+1", "-2+3", "@SUM(A1)", "\tx", "\rx", "\nx"] {
            assert_eq!(cell(&Field::Text(hostile.to_owned())), format!("'{hostile}"));
        }
        assert_eq!(cell(&Field::Integer(-3)), "-3");
        assert_eq!(cell(&Field::Text("a=b".into())), "a=b");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut files = CsvFiles::create(folder.path().to_owned());
        let hostile = "a,\"b\"\r\n;'c'\u{2028}é\0";
        let mut row: Vec<Field> = RECORDS.iter().map(|column| Field::Text(column.name.to_owned())).collect();
        row[5] = Field::Text(hostile.to_owned());
        files.add("x", RECORDS, &row).expect("written");
        for mut writer in files.files.into_values() {
            writer.flush().expect("written");
        }
        let mut reader = csv::Reader::from_path(folder.path().join("x.csv")).expect("there");
        let read: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("sound");
        assert_eq!(read.iter().map(|row| row[5].to_owned()).collect::<Vec<_>>(), [hostile]);
    }
}
