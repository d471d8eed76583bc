//! The rows of a record's list.

use super::{Beside, Decoder, Prepared};
use crate::explain;
use crate::fields::{Slot, Spread};
use crate::json::scan::Scanner;
use crate::lists::{Elements, Listed};
use crate::value::Value;

impl Decoder {
    /// Appends a row for each element of the list of the record of this index, all of them or,
    /// after an error, none that counts; `begun` counts them.
    pub(super) fn append_elements<'a>(
        &mut self,
        index: usize,
        prepared: &'a Prepared,
        record: &[Slot<'a>],
        beside: &[Beside<'_>],
        begun: &mut usize,
    ) -> Result<(), String> {
        let Some(mut spread) = self.spread.take() else { return Ok(()) };
        let listed = match prepared {
            Prepared::Avro(rows) => rows.list(index),
            Prepared::Protobuf(rows) => rows.list(index),
            Prepared::Nothing | Prepared::Csv(_) => {
                let value = record.get(spread.slot).and_then(Slot::value);
                value.map_or(Listed::Missing, Listed::Other)
            }
        };
        let outcome = match listed {
            Listed::Elements(elements) => {
                self.append_typed(elements, &spread, record, beside, begun)
            }
            Listed::Other(Value::Nested(list)) if list.starts_with('[') => {
                self.append_json(list, &mut spread, record, beside, begun)
            }
            found => {
                let found = match found {
                    Listed::Other(found) => {
                        format!("`{}`", explain::quote(found.written().as_bytes()))
                    }
                    Listed::Missing | Listed::Elements(_) => "missing".to_owned(),
                };
                Err(format!("`{}` is {found}: expected a list", spread.path.names.join(".")))
            }
        };
        self.spread = Some(spread);
        outcome
    }

    fn append_json<'a>(
        &mut self,
        list: &'a str,
        spread: &mut Spread,
        record: &[Slot<'a>],
        beside: &[Beside<'_>],
        begun: &mut usize,
    ) -> Result<(), String> {
        let mut slots = record.to_vec();
        let mut number = 0;
        Scanner::new(list).list(|element| {
            number += 1;
            slots.copy_from_slice(record);
            for column in &spread.itself {
                if let Some(slot) = slots.get_mut(*column) {
                    slot.exact = Some(element);
                }
            }
            let found = match element {
                Value::Nested(text) if text.starts_with('{') => {
                    spread.fields.scan(text, &mut slots)
                }
                _ if spread.itself.is_empty() => Err(NO_OBJECT.to_owned()),
                _ => Ok(()),
            };
            let appended = found.and_then(|()| {
                *begun += 1;
                self.append(&slots, beside)
            });
            appended.map_err(|error| of_element(number, spread, &error))
        })
    }

    fn append_typed<'a>(
        &mut self,
        elements: Elements<'a>,
        spread: &Spread,
        record: &[Slot<'a>],
        beside: &[Beside<'_>],
        begun: &mut usize,
    ) -> Result<(), String> {
        let Elements { list, range } = elements;
        let mut slots = record.to_vec();
        for (number, element) in (1..).zip(range) {
            if spread.itself.is_empty() && !list.is_object(element) {
                return Err(of_element(number, spread, NO_OBJECT));
            }
            for (place, (column, _)) in spread.path.columns.iter().enumerate() {
                if let Some(slot) = slots.get_mut(*column) {
                    slot.exact = list.value(element, place);
                }
            }
            *begun += 1;
            let appended = self.append(&slots, beside);
            appended.map_err(|error| of_element(number, spread, &error))?;
        }
        Ok(())
    }
}

/// Why an element is no row of fields.
const NO_OBJECT: &str = "it is no object";

fn of_element(number: usize, spread: &Spread, error: &str) -> String {
    format!("element {number} of `{}`: {error}", spread.path.names.join("."))
}
