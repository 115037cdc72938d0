//! A configuration file: errors that say where, or a configuration, and the same each time.

use session_gateway::config::Config;

fn variable(name: &str) -> Option<String> {
    (name == "HOME").then(|| String::from("/home/of\nsomebody"))
}

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A file that the text names would be read, and that is another input.
    if ["_file", "cert", "ca ", "ca=", "\\"].iter().any(|name| text.contains(name)) {
        return;
    }
    let parse = || Config::parse("t.toml", text, &variable);
    let last = text.split('\n').count();
    let outcome = parse();
    let warnings = match &outcome {
        Ok(config) => config.warnings.clone(),
        Err(errors) => {
            assert!(!errors.all().is_empty(), "refused without a reason");
            errors.all().iter().map(ToString::to_string).collect()
        }
    };
    for line in &warnings {
        assert!(!line.chars().any(char::is_control), "not one line: {line:?}");
        let place = line.strip_prefix("t.toml:").and_then(|rest| rest.split_once(": "));
        let (number, said) = place.unwrap_or_else(|| panic!("no place: {line:?}"));
        let number: usize = number.parse().unwrap_or_else(|_| panic!("no line: {line:?}"));
        assert!((1..=last).contains(&number), "{number} of {last} lines: {line:?}");
        assert!(!said.is_empty());
    }
    let again = parse();
    assert_eq!(format!("{:?}", outcome.err()), format!("{:?}", again.err()), "one file, one meaning");
}
