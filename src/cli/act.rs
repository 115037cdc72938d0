//! What commands that ask the admin API for one thing have in common, and those that change something there.

use std::fmt::Display;

use clap::Args;
use serde_json::{Value, json};

use super::api::ApiOptions;
use super::output::{say, say_json};

/// How an answer is printed, and where it is asked for.
#[derive(Args, Clone, Debug, Default)]
pub struct AskOptions {
    /// Print the answer as JSON
    #[arg(long)]
    pub json: bool,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiOptions,
}

/// Why something is changed, how that is told, and where it is done.
#[derive(Args, Clone, Debug, Default)]
pub struct ActOptions {
    /// Why, for the audit log: one line
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// How the answer is printed.
    #[command(flatten)]
    pub ask: AskOptions,
}

impl ActOptions {
    /// Where it is done.
    pub(super) const fn api(&self) -> &ApiOptions {
        &self.ask.api
    }

    /// A body with the reason, and what else is in it.
    pub(super) fn body(&self, mut body: Value) -> Value {
        if let (Some(reason), Some(members)) = (&self.reason, body.as_object_mut()) {
            members.insert(String::from("reason"), json!(reason));
        }
        body
    }

    /// Prints what was done: the API's answer as it is, or in words.
    pub(super) fn tell(&self, answer: &Value, words: impl Display) {
        if self.ask.json {
            say_json(answer);
        } else {
            say(words);
        }
    }
}
