//! The rules at work: a table of ways, and a month of many users.

mod acts_month;
mod chance;
mod lessons;
mod month;
mod travel_cases;

use super::{Action, Concurrent, LocationChange, Locations, PlaceRules, Severity, Travel};

/// The rules as they are by default.
fn rules() -> PlaceRules {
    PlaceRules {
        travel: Some(Travel {
            kmh: 1000,
            back_within: 600,
            severity: Severity::High,
            actions: vec![Action::Alert],
            actions_if_back: vec![Action::Reauth],
        }),
        location_change: Some(LocationChange {
            km: 500,
            within: 3600,
            severity: Severity::Medium,
            actions: vec![Action::Alert],
        }),
        locations: Some(Locations { km: 500, severity: Severity::Low, actions: vec![Action::Record] }),
        concurrent: Some(Concurrent { count: 3, severity: Severity::Medium, actions: vec![Action::Notify] }),
        ..PlaceRules::default()
    }
}
