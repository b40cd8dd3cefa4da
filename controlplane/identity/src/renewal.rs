//! When a certificate is renewed.

use jiff::{SignedDuration, Timestamp};

/// When to renew a certificate: at half its life, give or take a tenth of that half, so that a fleet that enrolled
/// together does not renew together. `random` is any number, drawn once per certificate.
///
/// Expiry is never a reason to stop enforcing.
#[must_use]
pub fn renew_at(not_before: Timestamp, not_after: Timestamp, random: u64) -> Timestamp {
    let half = not_after.duration_since(not_before).as_secs().max(0) / 2;
    let tenth = half / 10;
    let spread = u64::try_from(2 * tenth).unwrap_or_default() + 1;
    let offset = i64::try_from(random % spread).unwrap_or_default() - tenth;
    not_before
        .checked_add(SignedDuration::from_secs(half + offset))
        .unwrap_or(not_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_falls_within_a_tenth_around_half_life() {
        let day = 86_400;
        let second = |second| Timestamp::from_second(second).expect("in range");
        let (from, until) = (second(1_000 * day), second(1_010 * day));
        let mut seen = std::collections::BTreeSet::new();
        for random in (0..u64::MAX).step_by(usize::MAX / 997) {
            let at = renew_at(from, until, random);
            assert!(at >= second(1_004 * day + day / 2) && at <= second(1_005 * day + day / 2));
            seen.insert(at);
        }
        assert!(seen.len() > 900, "renewals are spread");
    }

    #[test]
    fn a_certificate_without_life_is_renewed_at_once() {
        let at = Timestamp::from_second(7).expect("in range");
        assert_eq!(renew_at(at, at, 3), at);
        assert_eq!(renew_at(at, Timestamp::UNIX_EPOCH, 3), at);
    }
}
