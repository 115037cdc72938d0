//! `manual`: the manual page, for `man`: the program's on standard output, or all of them, one for each command, as files.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::output::{FAILED, complain, write_out};

/// What the page says beyond what the command line knows of itself: a section's name, then words and their meaning.
const SECTIONS: [(&str, &[(&str, &str)]); 4] = [
    (
        "EXIT STATUS",
        &[
            ("0", "Fine."),
            ("1", "Failed while running."),
            ("2", "Bad usage or bad configuration. All errors of a configuration are told at once."),
        ],
    ),
    (
        "SIGNALS",
        &[
            ("SIGHUP", "Reads the configuration again. A bad one changes nothing and is logged."),
            (
                "SIGTERM",
                "Stops: not ready at once, no new connections after server.drain_delay, the end after server.drain_timeout at the latest.",
            ),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("SESSION_GATEWAY_CONFIG", "The configuration file, where no --config names one."),
            (
                "SESSION_GATEWAY_ADMIN_URL",
                "Where the admin API is, for the commands that call it, where no --url says so.",
            ),
            ("SESSION_GATEWAY_ADMIN_TOKEN", "The token that they show there, where no --token-file names one."),
            ("SSL_CERT_FILE", "Authorities that vouch for stores and backends with TLS, instead of the system's."),
        ],
    ),
    ("FILES", &[("config/gateway.toml", "The configuration, where neither --config nor the environment names one.")]),
];

/// Options of `manual`.
#[derive(Args, Clone, Debug)]
pub struct ManualOptions {
    /// Write the pages of the program and of each command into this folder, which must be there
    #[arg(long, value_name = "FOLDER")]
    pub directory: Option<PathBuf>,
}

/// Prints the program's page, or writes all pages.
#[must_use]
pub fn manual(options: &ManualOptions, command: Command) -> ExitCode {
    match pages(options, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("session-gateway: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn pages(options: &ManualOptions, command: Command) -> io::Result<()> {
    // Without `help`, which says what `--help` does and has no page.
    let command = command.disable_help_subcommand(true);
    let page = program(command.clone())?;
    let Some(folder) = &options.directory else {
        write_out(&page);
        return Ok(());
    };
    let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    clap_mangen::generate_to(command, folder).map_err(at)?;
    std::fs::write(folder.join("session-gateway.1"), page).map_err(at)
}

/// The program's own page.
fn program(command: Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    for (name, entries) in SECTIONS {
        let mut section = Roff::new();
        section.control("SH", [name]);
        for (word, meaning) in entries {
            section.control("TP", []).text([bold(*word)]).text([roman(*meaning)]);
        }
        section.to_writer(&mut page)?;
    }
    man.render_version_section(&mut page)?;
    Ok(page)
}
