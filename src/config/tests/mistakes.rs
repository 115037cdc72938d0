//! What newcomers write, as data: whole files, each with the lines that it is answered with.

use serde::Deserialize;

use super::errors;

#[derive(Deserialize)]
struct Mistakes {
    mistake: Vec<Mistake>,
}

#[derive(Deserialize)]
struct Mistake {
    /// The file's text. `\r`, `\u0000` and the like are what they stand for.
    text: String,
    /// What is said, in its order, but for what is missing from the rest of the file.
    says: Vec<String>,
}

#[test]
fn each_mistake_is_answered_with_what_to_write_instead() {
    let table: Mistakes = toml::from_str(include_str!("mistakes.toml")).expect("the table of mistakes");
    let folder = std::env::current_dir().expect("a folder").display().to_string();
    let mut wrong = Vec::new();
    for Mistake { text, says } in &table.mistake {
        let said = errors(text).into_iter().filter(|line| !line.contains(": is missing; add `"));
        let said: Vec<String> = said.map(|line| line.replace(&folder, "/where/it/was/started")).collect();
        if said != *says {
            wrong.push(format!("{text:?}\n  says {said:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(table.mistake.len() >= 64, "{} mistakes", table.mistake.len());
}

#[test]
fn no_message_about_syntax_shows_what_may_be_a_secret() {
    for key in ["store.password", "admin.token", "secrets.key", "store.redis"] {
        let said = errors(&format!("{key} = hunter2-is-the-secret\n"));
        assert!(!said.is_empty() && said.iter().all(|line| !line.contains("hunter2")), "{said:?}");
    }
}
