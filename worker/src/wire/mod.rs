//! AWS's protocols, by the catalogue's data: parameters to requests, answers to JSON.

mod answer;
mod request;
mod xml;

pub use answer::{RawAnswer, WireError, parse_answer, parse_error};
pub use request::{PreparedRequest, prepare};
pub use xml::{Element, XmlError, parse_xml, to_value};
