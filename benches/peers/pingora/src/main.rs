//! A proxy with nothing in it: one listener, one backend, one header set. `bare-pingora LISTEN BACKEND`.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::prelude::*;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    backend: String,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.backend.as_str(), false, String::new())))
    }

    async fn upstream_request_filter(&self, _: &mut Session, request: &mut RequestHeader, (): &mut ()) -> Result<()> {
        request.insert_header("X-Customer-ID", "42")
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (listen, backend) = (arguments.next().expect("LISTEN"), arguments.next().expect("BACKEND"));
    let conf = ServerConf { threads: 1, work_stealing: false, upstream_keepalive_pool_size: 128, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let conf = Arc::clone(&server.configuration);
    let mut service = http_proxy_service(&conf, Bare { backend });
    service.add_tcp(&listen);
    server.add_service(service);
    server.run_forever();
}
