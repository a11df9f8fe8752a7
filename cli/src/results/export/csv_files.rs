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
        writer.write_record(row.iter().map(|field| field.text().unwrap_or_default())).map_err(failed)
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
