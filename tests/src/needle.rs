//! Looking for a secret in whatever form it may have got somewhere.

use anyhow::{Result, ensure};

const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A secret, and the forms in which it could be written down.
#[derive(Debug)]
pub struct Needle {
    name: String,
    forms: Vec<Vec<u8>>,
}

impl Needle {
    /// Of bytes: as they are, in hexadecimal, in base64, and as a list of numbers. Part
    /// of them is looked for, so that a part is found too.
    pub fn bytes(name: &str, bytes: &[u8]) -> Self {
        let part = &bytes[..bytes.len().min(12)];
        let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
        let list: Vec<String> = part.iter().map(u8::to_string).collect();
        let mut forms = vec![
            part.to_vec(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            list.join(", ").into_bytes(),
            list.join(",").into_bytes(),
        ];
        // In base64 what comes before decides where the digits begin.
        forms.extend((0..3).map(|skipped| base64(&part[skipped..])));
        Self {
            name: name.to_owned(),
            forms,
        }
    }

    /// Of a text, with or without its dashes.
    pub fn text(name: &str, text: &str) -> Self {
        let plain = text.replace('-', "");
        let forms = [text.to_lowercase(), plain.to_lowercase()];
        let upper = [text.to_uppercase(), plain.to_uppercase()];
        Self {
            name: name.to_owned(),
            forms: forms.into_iter().chain(upper).map(Into::into).collect(),
        }
    }

    /// Fails if the secret is in there.
    pub fn is_not_in(&self, place: &str, hay: &[u8]) -> Result<()> {
        for form in &self.forms {
            let found = hay.windows(form.len()).any(|part| part == form);
            ensure!(
                !found,
                "{} is in {place}: {}",
                self.name,
                form.escape_ascii()
            );
        }
        Ok(())
    }
}

/// Whole digits only, so that they are the same whatever follows.
fn base64(bytes: &[u8]) -> Vec<u8> {
    let whole = bytes.chunks_exact(3).flat_map(|three| {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        [18, 12, 6, 0].map(|shift| DIGITS[(bits >> shift & 63) as usize])
    });
    whole.collect()
}
