//! An audit line as it is read: what queries answer, and its form in CSV.

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::event::USER_KIND;

/// One event, as its line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// When, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// What happened, as `session.created`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `success`, `failure` or `denied`.
    pub outcome: String,
    /// The tenant.
    #[schema(required)]
    pub tenant: Option<String>,
    /// The user.
    #[schema(required)]
    pub user: Option<String>,
    /// The session.
    #[schema(required)]
    pub session_id: Option<String>,
    /// `user`, `gateway`, or `operator:` and the name of a token.
    pub actor: String,
    /// Why.
    #[schema(required)]
    pub reason: Option<String>,
    /// The client's address.
    #[schema(required)]
    pub address: Option<String>,
    /// The client's user agent.
    #[schema(required)]
    pub user_agent: Option<String>,
    /// The request.
    #[schema(required)]
    pub request_id: Option<String>,
    /// What is particular to the type.
    #[schema(value_type = std::collections::HashMap<String, Value>)]
    pub details: Map<String, Value>,
    /// The chain of the gateway that wrote it.
    pub instance: String,
    /// Its number in that chain.
    pub seq: u64,
    /// Its keyed hash.
    pub mac: String,
}

impl AuditRecord {
    /// Reads a line. `None`: it is not one of an audit log.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// The kind of the user's login, where it has one.
    pub(super) fn user_kind(&self) -> Option<&str> {
        self.details.get(USER_KIND).and_then(Value::as_str)
    }
}

const COLUMNS: [&str; 14] = [
    "time",
    "type",
    "outcome",
    "tenant",
    "user",
    "session_id",
    "actor",
    "reason",
    "address",
    "user_agent",
    "request_id",
    "details",
    "instance",
    "seq",
];

/// Writes records as CSV (RFC 4180), a head line first.
pub struct CsvWriter<W: io::Write>(csv::Writer<W>);

impl<W: io::Write> CsvWriter<W> {
    /// Writes the head line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: W) -> io::Result<Self> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
        writer.write_record(COLUMNS)?;
        Ok(Self(writer))
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, record: &AuditRecord) -> io::Result<()> {
        let text = |value: &Option<String>| value.as_deref().map_or_else(String::new, harmless);
        let details = if record.details.is_empty() { String::new() } else { serde_json::to_string(&record.details)? };
        self.0.write_record([
            record.time.clone(),
            harmless(&record.kind),
            harmless(&record.outcome),
            text(&record.tenant),
            text(&record.user),
            text(&record.session_id),
            harmless(&record.actor),
            text(&record.reason),
            text(&record.address),
            text(&record.user_agent),
            text(&record.request_id),
            details,
            harmless(&record.instance),
            record.seq.to_string(),
        ])?;
        Ok(())
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A value that no spreadsheet takes for a formula: `user_agent` and the like are what a client likes them to be.
fn harmless(value: &str) -> String {
    let formula = value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{value}") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AuditRecord {
        AuditRecord::read(
            br#"{"time":"2026-11-24T17:00:00.000Z","type":"session.created","outcome":"success","tenant":"acme","user":"7","session_id":null,"actor":"user","reason":null,"address":"192.0.2.1","user_agent":"=HYPERLINK(\"http://evil\"),\r\n\"x\"","request_id":"r","details":{"count":1},"prev":"p","instance":"AQEBAQEBAQEB","seq":3,"mac":"m"}"#,
        )
        .expect("a line")
    }

    #[test]
    fn csv_is_one_row_a_record_and_never_a_formula() {
        let mut out = Vec::new();
        let mut writer = CsvWriter::new(&mut out).expect("memory");
        writer.write(&record()).expect("memory");
        writer.flush().expect("memory");
        drop(writer);
        let mut reader = csv::Reader::from_reader(out.as_slice());
        assert_eq!(reader.headers().expect("a head").len(), COLUMNS.len());
        let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows");
        let [row] = rows.as_slice() else { panic!("one row, not {rows:?}") };
        assert_eq!(row.get(9), Some("'=HYPERLINK(\"http://evil\"),\r\n\"x\""));
        assert_eq!((row.get(11), row.get(13)), (Some("{\"count\":1}"), Some("3")));
    }

    #[test]
    fn what_is_no_audit_line_is_not_read_as_one() {
        for wrong in [&b""[..], b"{}", b"[1]", b"{\"time\":\"2026\"}", b"\xff"] {
            assert_eq!(AuditRecord::read(wrong), None);
        }
    }
}
