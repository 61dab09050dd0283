//! What a node says in its log once and no more, however often there is cause.

/// What was said already, a bit each.
#[derive(Debug, Default)]
pub(super) struct Said(u8);

impl Said {
    pub(super) const VERSION: u8 = 1;
    pub(super) const CLUSTER: u8 = 1 << 1;
    pub(super) const MAC: u8 = 1 << 2;
    pub(super) const MALFORMED: u8 = 1 << 3;
    pub(super) const CLASH: u8 = 1 << 4;
    pub(super) const CROWDED: u8 = 1 << 5;

    /// Whether this is the first time.
    pub(super) fn first(&mut self, what: u8) -> bool {
        let first = self.0 & what == 0;
        self.0 |= what;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once() {
        let mut said = Said::default();
        assert_eq!(
            [
                said.first(Said::MAC),
                said.first(Said::MAC),
                said.first(Said::VERSION),
                said.first(Said::MAC)
            ],
            [true, false, true, false]
        );
    }
}
