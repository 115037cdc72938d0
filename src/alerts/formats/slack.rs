//! A message for an incoming webhook of Slack, in blocks. All of it is plain text, in which nothing is a link or a mention;
//! the text beside the blocks, for notifications, is escaped as Slack asks for.

use serde_json::{Value, json};

use super::telling::Telling;

/// What Slack takes: the letters of a header and of a section, the fields of one, the blocks of a message.
const LONGEST_HEADER: usize = 150;
const LONGEST_FIELD: usize = 2000;
const LONGEST_SECTION: usize = 3000;
const MOST_FIELDS: usize = 10;
const MOST_BLOCKS: usize = 40;

pub(super) fn body(telling: &Telling<'_>) -> Value {
    let content = telling.subject.content(telling.site, telling.id);
    let mut blocks = vec![json!({ "type": "header", "text": plain(&content.title, LONGEST_HEADER) })];
    let lead = content.observed_note().map_or_else(|| content.lead.clone(), |note| format!("{note}\n{}", content.lead));
    blocks.push(section(&lead));
    for facts in content.facts.chunks(MOST_FIELDS) {
        let field = |(name, value): &(String, String)| plain(&format!("{name}: {value}"), LONGEST_FIELD);
        blocks.push(json!({ "type": "section", "fields": facts.iter().map(field).collect::<Vec<_>>() }));
    }
    for item in &content.items {
        blocks.push(section(&format!("{}  {}\n{}  ({})", item.at, item.what, item.whom, item.id)));
    }
    blocks.truncate(MOST_BLOCKS);
    blocks.push(section(&content.commands.join("\n")));
    blocks.push(json!({ "type": "context", "elements": [plain(&content.foot, LONGEST_FIELD)] }));
    json!({ "text": escaped(&content.title), "blocks": blocks })
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": plain(text, LONGEST_SECTION) })
}

fn plain(text: &str, longest: usize) -> Value {
    let mut shown: String = text.chars().take(longest).collect();
    if shown.is_empty() {
        // Slack takes no empty text.
        shown.push('-');
    }
    json!({ "type": "plain_text", "text": shown, "emoji": false })
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
