//! Files that nobody wrote on purpose: too deep, cut off, with secrets where names belong.

use super::{BASE, Config, MINIMAL, environment, errors};

#[test]
fn a_hostile_depth_is_an_error_and_not_an_overflow() {
    for deep in ["[", "{a=", "[[", "a."] {
        assert!(!errors(&format!("x = {}", deep.repeat(100_000))).is_empty());
        assert!(!errors(&deep.repeat(100_000)).is_empty());
    }
}

#[test]
fn a_secret_where_a_files_or_a_variables_name_belongs_is_never_shown() {
    const SECRET: &str = "3q2+7wABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let pem = "-----BEGIN PRIVATE KEY-----/3q2+7wABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    for secret in [SECRET, &format!("/{SECRET}"), pem, &SECRET.repeat(200)] {
        for settings in [
            "admin.token_file = \"@\"",
            "admin.tokens = [{ name = \"a\", roles = [\"read\"], token_file = \"@\" }]",
            "secrets.key_file = \"@\"",
            "secrets.key_file = \"@\"\naudit.file = \"@\"",
            "server.tls = { cert = \"@\", key = \"@\" }",
            "admin.tls = [{ cert = \"@\", key = \"@\" }]",
            "upstreams.x = { url = \"https://b\", ca = \"@\" }",
            "secrets.key = \"${@}\"",
            "secrets.key = \"${@\"",
            "admin.token = \"${3q27wABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789}\"",
            "admin.token = \"${q27wABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789}\"",
        ] {
            let text = format!("{BASE}{}", settings.replace('@', secret));
            let said = errors(&text).join("\n");
            assert!(!said.is_empty() && !said.contains("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "{settings}: {said}");
        }
        let text = format!(
            "{}store.password_file = \"{secret}\"\n",
            BASE.replace("embedded = \"s\"", "redis = \"redis://a\"")
        );
        let said = errors(&text).join("\n");
        assert!(said.contains("store.password_file: names a file") && !said.contains("ABCDEF"), "{said}");
    }
}

#[test]
fn a_configuration_that_was_cut_within_a_line_is_refused_wherever_it_was_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.toml");
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let taken = |text: &str| {
        std::fs::write(&file, text).expect("writes");
        std::fs::File::options().append(true).open(&file).and_then(|file| file.set_modified(long_ago)).expect("sets");
        Config::load(&file, &environment)
    };
    let whole = format!("{MINIMAL}[[routes]]\nmatch = \"/admin/*\" # theirs\nroles = [\"admin\", \"root\"]\n");
    taken(&whole).expect("all of it");
    for (end, _) in whole.char_indices().skip(1).filter(|(end, _)| !whole[..*end].ends_with('\n')) {
        assert!(taken(&whole[..end]).is_err(), "{}", &whole[..end]);
    }
}
