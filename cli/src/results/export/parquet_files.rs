use super::{
    Target, file_name,
    table::{Column, Field, Kind, LEDGER, RECORDS},
};
use crate::failure::Failure;
use fleetscan_proto::Manifest;
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        properties::{WriterProperties, WriterPropertiesPtr},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};
use std::{collections::BTreeMap, fs::File, path::PathBuf, sync::Arc};

/// A row group of one file, about, before it is packed.
const ROW_GROUP: usize = 32 * 1024 * 1024;
/// All rows that are held, of all files together: beyond it, the file that holds most writes its row group.
const HELD: usize = 64 * 1024 * 1024;

/// A Parquet file a type, and one of the ledger.
pub struct ParquetFiles {
    folder: PathBuf,
    properties: WriterPropertiesPtr,
    files: BTreeMap<String, Open>,
    held: usize,
}

struct Open {
    columns: &'static [Column],
    writer: SerializedFileWriter<File>,
    rows: Vec<Vec<Field>>,
    held: usize,
}

fn failed(error: ParquetError) -> Failure {
    Failure::failed(format!("the Parquet file cannot be written: {error}"))
}

impl ParquetFiles {
    pub fn create(folder: PathBuf) -> Self {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("fleetscan ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        Self { folder, properties: Arc::new(properties), files: BTreeMap::new(), held: 0 }
    }

    fn add(&mut self, name: &str, columns: &'static [Column], row: Vec<Field>) -> Result<(), Failure> {
        if !self.files.contains_key(name) {
            let schema = Arc::new(parse_message_type(&schema(columns)).map_err(failed)?);
            let file = File::create_new(self.folder.join(format!("{name}.parquet")))?;
            let writer = SerializedFileWriter::new(file, schema, Arc::clone(&self.properties)).map_err(failed)?;
            self.files.insert(name.to_owned(), Open { columns, writer, rows: Vec::new(), held: 0 });
        }
        let Some(open) = self.files.get_mut(name) else { return Ok(()) };
        let size: usize = row.iter().map(Field::size).sum();
        open.rows.push(row);
        open.held += size;
        self.held += size;
        if open.held >= ROW_GROUP {
            self.held -= open.held;
            open.flush()?;
        } else if self.held >= HELD
            && let Some(largest) = self.files.values_mut().max_by_key(|open| open.held)
        {
            self.held -= largest.held;
            largest.flush()?;
        }
        Ok(())
    }
}

impl Target for ParquetFiles {
    fn record(&mut self, kind: &str, row: Vec<Field>) -> Result<(), Failure> {
        self.add(&file_name(kind), RECORDS, row)
    }

    fn ledger(&mut self, row: Vec<Field>) -> Result<(), Failure> {
        self.add(super::LEDGER_NAME, LEDGER, row)
    }

    fn finish(self: Box<Self>, _manifest: &Manifest) -> Result<(), Failure> {
        for mut open in self.files.into_values() {
            open.flush()?;
            open.writer.close().map_err(failed)?;
        }
        Ok(())
    }
}

impl Open {
    /// Writes what is held as a row group.
    fn flush(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        self.held = 0;
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns: Vec<Vec<Field>> = self.columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
        for row in rows {
            row.into_iter().zip(&mut columns).for_each(|(field, column)| column.push(field));
        }
        let mut group = self.writer.next_row_group().map_err(failed)?;
        for (column, fields) in self.columns.iter().zip(columns) {
            let Some(mut writer) = group.next_column().map_err(failed)? else { break };
            write_column(&mut writer, column, fields).map_err(failed)?;
            writer.close().map_err(failed)?;
        }
        group.close().map_err(failed)?;
        Ok(())
    }
}

/// The schema in Parquet's own notation.
fn schema(columns: &[Column]) -> String {
    let mut text = String::from("message fleetscan {\n");
    for Column { name, kind, optional } in columns {
        let repetition = if *optional { "OPTIONAL" } else { "REQUIRED" };
        let line = match kind {
            Kind::Text => format!("{repetition} BYTE_ARRAY {name} (STRING);"),
            Kind::Json => format!("{repetition} BYTE_ARRAY {name} (JSON);"),
            Kind::Integer => format!("{repetition} INT64 {name};"),
            Kind::Real => format!("{repetition} DOUBLE {name};"),
            Kind::Time => format!("{repetition} INT64 {name} (TIMESTAMP(MICROS,true));"),
            Kind::Texts => format!(
                "REQUIRED group {name} (LIST) {{ REPEATED group list {{ REQUIRED BYTE_ARRAY element (STRING); }} }}"
            ),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text.push('}');
    text
}

fn write_column(
    writer: &mut SerializedColumnWriter<'_>,
    column: &Column,
    fields: Vec<Field>,
) -> Result<(), ParquetError> {
    // A definition level says whether an optional field is there; lists have levels of their own.
    let present: Vec<i16> = fields.iter().map(|field| i16::from(*field != Field::Null)).collect();
    let levels = column.optional.then_some(present.as_slice());
    match column.kind {
        Kind::Text | Kind::Json => {
            let values: Vec<ByteArray> = fields
                .into_iter()
                .filter_map(|field| match field {
                    Field::Text(text) => Some(ByteArray::from(text.into_bytes())),
                    _ => None,
                })
                .collect();
            writer.typed::<ByteArrayType>().write_batch(&values, levels, None)?;
        }
        Kind::Texts => {
            let (mut values, mut there, mut repeats) = (Vec::new(), Vec::new(), Vec::new());
            for field in fields {
                let texts = if let Field::Texts(texts) = field { texts } else { Vec::new() };
                if texts.is_empty() {
                    there.push(0);
                    repeats.push(0);
                }
                for (at, text) in texts.into_iter().enumerate() {
                    values.push(ByteArray::from(text.into_bytes()));
                    there.push(1);
                    repeats.push(i16::from(at > 0));
                }
            }
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&there), Some(&repeats))?;
        }
        Kind::Integer | Kind::Time => {
            let values: Vec<i64> = fields
                .iter()
                .filter_map(|field| match field {
                    Field::Integer(number) => Some(*number),
                    Field::Time(at) => Some(at.as_microsecond()),
                    _ => None,
                })
                .collect();
            writer.typed::<Int64Type>().write_batch(&values, levels, None)?;
        }
        Kind::Real => {
            let real = |field: &Field| if let Field::Real(number) = field { Some(*number) } else { None };
            let values: Vec<f64> = fields.iter().filter_map(real).collect();
            writer.typed::<DoubleType>().write_batch(&values, levels, None)?;
        }
    }
    Ok(())
}
