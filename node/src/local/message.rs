//! Messages of the contract within a line of JSON.

use prost::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt::Write as _;

/// A message; in JSON its protobuf bytes, in hexadecimal digits.
#[derive(Clone, PartialEq, Debug)]
pub struct Encoded<M>(pub M);

impl<M: Message> Serialize for Encoded<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self
            .0
            .encode_to_vec()
            .iter()
            .fold(String::new(), |mut digits, byte| {
                // A string takes all that is written.
                let _ = write!(digits, "{byte:02x}");
                digits
            });
        serializer.serialize_str(&digits)
    }
}

impl<'de, M: Message + Default> Deserialize<'de> for Encoded<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let bytes =
            bytes(&digits).ok_or_else(|| D::Error::custom("not pairs of hexadecimal digits"))?;
        M::decode(&*bytes).map(Self).map_err(D::Error::custom)
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => {
            let value = |digit: u8| char::from(digit).to_digit(16);
            u8::try_from(value(*high)? * 16 + value(*low)?).ok()
        }
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_proto::v1::Position;

    #[test]
    fn messages_come_back_and_other_texts_are_refused() {
        let position = Encoded(Position {
            epoch: vec![0, 255],
            revision: 7,
            digest: vec![16],
        });
        let json = serde_json::to_string(&position).expect("JSON");
        let back: Encoded<Position> = serde_json::from_str(&json).expect("a message");
        assert_eq!(back, position);
        for wrong in ["\"0\"", "\"zz\"", "\"ff\"", "7", "\"é\""] {
            assert!(
                serde_json::from_str::<Encoded<Position>>(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
