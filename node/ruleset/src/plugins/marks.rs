//! The layout of our part of the packet mark.

/// Bits of the mask by their use, lowest first: 3 for the stage that answers are for, up to 12 for answers. The bits of a mask need not be neighbours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    mask: u32,
}

/// Bits that say which stage answers are for.
const STAGE: usize = 3;
/// Bits of answers at most.
const RESULTS: usize = 12;

impl Marks {
    /// Of a mask with at least five bits.
    pub const fn new(mask: u32) -> Self {
        Self { mask }
    }

    /// All bits that we ever write: those of answers, and those of their stage.
    pub fn all(self) -> u32 {
        self.results().fold(self.evaluated(), |all, bit| all | bit)
    }

    /// Bits that say which stage answers are for.
    pub(crate) fn evaluated(self) -> u32 {
        self.bits().take(STAGE).fold(0, |all, bit| all | bit)
    }

    /// What they are for a stage, 0..=7.
    pub(crate) fn stage(self, number: u8) -> u32 {
        let bits = self.bits().take(STAGE).enumerate();
        let set = bits.filter(|(place, _)| number >> place & 1 == 1);
        set.fold(0, |all, (_, bit)| all | bit)
    }

    /// Bits of answers, lowest first.
    pub(crate) fn results(self) -> impl Iterator<Item = u32> {
        self.bits().skip(STAGE).take(RESULTS)
    }

    fn bits(self) -> impl Iterator<Item = u32> {
        (0..u32::BITS)
            .map(|place| 1 << place)
            .filter(move |bit| self.mask & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::Marks;

    #[test]
    fn bits_are_given_out_from_the_lowest() {
        let marks = Marks::new(0xffff_0000);
        assert_eq!(marks.evaluated(), 0x0007_0000);
        assert_eq!(marks.stage(5), 0x0005_0000);
        assert_eq!(marks.all(), 0x7fff_0000);
        assert_eq!(marks.results().count(), 12);
    }

    #[test]
    fn bits_of_a_mask_with_holes_are_used_in_order() {
        let marks = Marks::new(0x0000_f1f0);
        assert_eq!(marks.stage(7), 0x70);
        assert_eq!(
            marks.results().collect::<Vec<_>>(),
            [0x80, 0x100, 0x1000, 0x2000, 0x4000, 0x8000]
        );
        assert_eq!(Marks::new(u32::MAX).all(), 0x7fff);
    }
}
