//! The audit log's part of the embedded store: where each chain stands. There is one gateway, so there is no stream.

use async_trait::async_trait;
use redb::{ReadableTable as _, ReadableTableMetadata as _};

use super::super::StoreResult;
use super::super::audit::{Anchor, Anchored, AuditAnchors};
use super::EmbeddedStore;
use super::schema::Fault;
use super::tables::Tables;

/// Chains that are remembered.
const MOST_CHAINS: u64 = 1000;

#[async_trait]
impl AuditAnchors for EmbeddedStore {
    async fn anchor(&self, anchor: &Anchor) -> StoreResult<Anchored> {
        let anchor = anchor.clone();
        self.write("audit_anchor", move |tables, _| keep(tables, &anchor)).await
    }

    async fn anchors(&self) -> StoreResult<Vec<Anchor>> {
        // Through the thread that writes: this is asked for once in a while, and needs no path of its own.
        self.write("audit_anchors", |tables, _| all(tables)).await
    }
}

fn keep(tables: &mut Tables<'_>, anchor: &Anchor) -> Result<Anchored, Fault> {
    let known = tables.audit_anchors.get(anchor.instance.as_str())?.map(|known| known.value().to_owned());
    if let Some(known) = known.and_then(|known| Anchor::decode(&anchor.instance, &known))
        && (known.seq > anchor.seq || (known.seq == anchor.seq && known.mac != anchor.mac))
    {
        return Ok(Anchored::Contradicted(known));
    }
    tables.audit_anchors.insert(anchor.instance.as_str(), anchor.encode().as_str())?;
    if tables.audit_anchors.len()? > MOST_CHAINS
        && let Some(oldest) = all(tables)?.into_iter().min_by_key(|anchor| anchor.time)
    {
        tables.audit_anchors.remove(oldest.instance.as_str())?;
    }
    Ok(Anchored::Kept)
}

fn all(tables: &Tables<'_>) -> Result<Vec<Anchor>, Fault> {
    let mut anchors = Vec::new();
    for entry in tables.audit_anchors.iter()? {
        let (instance, known) = entry?;
        let known = Anchor::decode(instance.value(), known.value());
        anchors.push(known.ok_or_else(|| Fault::Garbled(String::from("an audit anchor cannot be read")))?);
    }
    Ok(anchors)
}
