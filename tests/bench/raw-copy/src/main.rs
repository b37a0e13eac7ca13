//! `raw-copy LISTEN_PORT UPSTREAM_PORT`: copies bytes both ways between 127.0.0.1 ports on one
//! thread, one upstream connection for each client.

use std::{io, net::Ipv4Addr};
use tokio::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let mut ports = std::env::args().skip(1).map(|a| a.parse::<u16>());
    let (Some(Ok(listen)), Some(Ok(upstream))) = (ports.next(), ports.next()) else {
        return Err(io::Error::other("usage: raw-copy LISTEN_PORT UPSTREAM_PORT"));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(listen, upstream))
}

async fn serve(listen: u16, upstream: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, listen)).await?;
    loop {
        let (mut client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
            server.set_nodelay(true)?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await
        });
    }
}
