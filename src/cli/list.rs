//! What all lists have in common: how much of them, and for whom.

use clap::Args;
use serde_json::Value;

use super::api::{Client, Trouble};
use super::output::complain;
use super::table::{Column, show_list};

/// How much of a list, and for whom.
#[derive(Args, Clone, Copy, Debug)]
pub struct ListOptions {
    /// The most items
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub limit: u64,
    /// Print the list as JSON: `{"items": […]}`
    #[arg(long)]
    pub json: bool,
}

/// Fetches a list, all its pages, and prints it.
pub(super) async fn list(
    client: &Client,
    path: &str,
    query: Vec<(&str, &str)>,
    options: ListOptions,
    columns: &[Column],
    none: &str,
) -> Result<(), Trouble> {
    let (items, was_cut) = client.pages(path, query, options.limit).all().await?;
    show_list(columns, &items, options.json, none);
    if was_cut {
        complain(format_args!("there may be more than {}; --limit says how many are shown", options.limit));
    }
    Ok(())
}

/// The parameters of a query that were given.
pub(super) fn given<'a>(parameters: &[(&'a str, &'a Option<String>)]) -> Vec<(&'a str, &'a str)> {
    parameters.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect()
}

/// Whether an item's member is this text.
pub(super) fn is(item: &Value, member: &str, text: &str) -> bool {
    item.get(member).and_then(Value::as_str) == Some(text)
}
