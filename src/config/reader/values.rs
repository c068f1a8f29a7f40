//! Values that are no text: numbers, flags and lists.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use super::{Bad, Field, Key, Read, Reader, Section};

impl Reader<'_> {
    /// A whole number within `range`.
    pub(in crate::config) fn number(
        &mut self,
        section: &Section,
        key: &'static str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Bad> {
        let Some((_, value)) = section.entries.get(key) else { return Ok(None) };
        let number = match value.get_ref() {
            DeValue::Integer(digits) => u32::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let origin = self.origin(&section.place, key, value);
                let expected = format!("a number from {} to {}", range.start(), range.end());
                Err(self.refuse(&origin, expected))
            }
        }
    }

    /// `true` or `false`.
    pub(in crate::config) fn flag(
        &mut self,
        section: &Section,
        key: &'static str,
    ) -> Result<Option<bool>, Bad> {
        let Some((_, value)) = section.entries.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Boolean(flag) => Ok(Some(*flag)),
            _ => {
                let known = Key::find(section.kind, key).expect("keys that are read are in KEYS");
                let origin = self.origin(&section.place, key, value);
                Err(self.refuse(&origin, known.kind.expected()))
            }
        }
    }

    /// A list of texts, each with its place.
    pub(in crate::config) fn list(
        &mut self,
        section: &Section,
        key: &'static str,
    ) -> Read<Vec<Field<String>>> {
        let Some((_, value)) = section.entries.get(key) else { return Ok(None) };
        let known = Key::find(section.kind, key).expect("keys that are read are in KEYS");
        let origin = self.origin(&section.place, key, value);
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.refuse(&origin, known.kind.expected()));
        };
        let (mut fields, mut good) = (Vec::new(), Ok(()));
        for item in items.iter() {
            let origin = self.origin(&section.place, key, item);
            match item.get_ref().as_str() {
                Some(text) => fields.push(Field { value: text.to_owned(), origin }),
                None => good = Err(self.refuse(&origin, known.kind.expected())),
            }
        }
        good.map(|()| Some(Field { value: fields, origin }))
    }
}
