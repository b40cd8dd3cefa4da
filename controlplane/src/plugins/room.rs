//! How much may be stored.

use tonic::Status;

/// The most that is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Components.
    pub count: usize,
    /// Bytes of all of them.
    pub bytes: u64,
}

// === impl Room ===

impl Room {
    /// Whether a component of `size` bytes fits beside those of these sizes.
    pub(super) fn judge(
        self,
        stored: impl IntoIterator<Item = u64>,
        size: u64,
    ) -> Result<(), Status> {
        let (mut count, mut bytes) = (0_usize, 0_u64);
        for stored in stored {
            count += 1;
            bytes = bytes.saturating_add(stored);
        }
        let fix = "delete Plugin resources that are not needed; components that none names are removed after a while";
        let full = |what: String| Err(Status::resource_exhausted(format!("{what}: {fix}")));
        if count >= self.count {
            return full(format!("{count} components are stored, the most allowed"));
        }
        if bytes.saturating_add(size) > self.bytes {
            return full(format!(
                "{size} bytes do not fit: components take {bytes} of {} bytes",
                self.bytes
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn what_fits_is_let_in_and_what_does_not_is_told_why() {
        let room = Room {
            count: 3,
            bytes: 100,
        };
        assert!(room.judge([], 100).is_ok());
        assert!(room.judge([40, 40], 20).is_ok());
        for (stored, size, told) in [
            (&[40, 40][..], 21, "80 of 100 bytes"),
            (&[1, 1, 1], 1, "3 components"),
            (&[], u64::MAX, "do not fit"),
        ] {
            let refused = room.judge(stored.iter().copied(), size);
            let refused = refused.expect_err("does not fit");
            assert_eq!(refused.code(), Code::ResourceExhausted);
            let message = refused.message();
            assert!(
                message.contains(told) && message.contains("delete"),
                "{message}"
            );
        }
    }
}
