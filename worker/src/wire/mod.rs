//! AWS's protocols, by the catalogue's data: parameters to requests, answers to JSON.

mod answer;
mod paging;
mod request;
mod xml;

pub use answer::{RawAnswer, WireError, parse_answer, parse_error};
pub use paging::{next_token, page_params};
pub use request::{PreparedRequest, prepare};
pub use xml::{Element, XmlError, object, parse_xml};
