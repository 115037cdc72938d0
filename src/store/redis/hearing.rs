//! Connections that hear what a server says by itself.

use std::time::Duration;

use redis::{AsyncConnectionConfig, PushInfo};

use super::fault::Fault;
use super::lane::Lane;

/// For one connection to be made and logged in.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection of its own. `hear` gets what the server sends by itself, in order, and that the connection is gone; it must
/// not block.
pub(super) async fn hearing_lane(
    client: &redis::Client,
    round_trip: Duration,
    hear: impl Fn(PushInfo) + Send + Sync + 'static,
) -> Result<Lane, Fault> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(round_trip))
        .set_push_sender(move |push: PushInfo| {
            hear(push);
            Ok::<(), redis::aio::SendError>(())
        });
    let connection = client.get_multiplexed_async_connection_with_config(&config).await;
    connection.map(Lane::over).map_err(|error| Fault::while_connecting(&error))
}
