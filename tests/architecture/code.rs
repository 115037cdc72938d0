//! What of a source is code: comments, quotes and what is built for tests alone are taken out.

/// The code of a source: without comments, without what stands in quotes, and without the items that are built for tests
/// alone. Lines keep their numbers.
pub(crate) fn code(source: &str) -> String {
    let source = without_comments_and_quotes(source);
    let mut kept = String::new();
    let mut rest = source.as_str();
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        let (item, behind) = after.split_at(item_length(after));
        kept.push_str(before);
        kept.extend(item.chars().filter(|character| *character == '\n'));
        rest = behind;
    }
    kept + rest
}

/// How far an item goes, its further attributes included: to its semicolon, or to the brace that closes its block.
fn item_length(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' | '(' | '[' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn without_comments_and_quotes(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let length = token_length(rest);
        let (token, behind) = rest.split_at(length.unwrap_or(next.len_utf8()));
        match length {
            Some(_) => code.extend(token.chars().filter(|character| *character == '\n')),
            None => code.push(next),
        }
        rest = behind;
    }
    code
}

/// The length of the comment, string or character that the text begins with.
fn token_length(text: &str) -> Option<usize> {
    let ends = |from: usize, end: &str| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(ends(2, "*/"));
    }
    if text.starts_with("r\"") || text.starts_with("r#") {
        let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
        // Else it is a name such as r#type.
        return text[1 + hashes..].starts_with('"').then(|| ends(2 + hashes, &format!("\"{}", "#".repeat(hashes))));
    }
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    // A quote that opens nothing is a lifetime's.
    if quote == '\'' && !text[1..].starts_with('\\') && text.chars().nth(2) != Some('\'') {
        return None;
    }
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let is_end = *character == quote && !escaped;
        escaped = *character == '\\' && !escaped;
        is_end
    });
    Some(end.map_or(text.len(), |(at, _)| at + 1))
}
