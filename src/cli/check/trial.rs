//! What was tried, and what came of it.

/// What a trial came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialOutcome {
    /// It can be used; what was seen.
    Fine(String),
    /// It can be used, and an operator should know this.
    Warned(String),
    /// It cannot be used.
    Failed(String),
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What.
    pub what: String,
    /// What came of it.
    pub outcome: TrialOutcome,
}
